package wss

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"holdfast/proc"
	"holdfast/tests/pki"
	"holdfast/tests/raw"
)

func by201(identity string) try {
	a := by(identity)
	a.subprotocols = []string{"ocpp2.0.1"}
	return a
}

func TestTCA01(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.Processor("reference")
	for _, tries := range []func(*testing.T, try) (*charger, int){b.profile1tries, b.profile2tries} {
		c, status := tries(t, by201("CS-1"))
		want(t, "the right password", status, 101)
		c.mustAsk(t)
		b.MustUpgrade()
		c.mustAsk(t)
	}
}

func TestTCA02(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	a := by201("CS-1")
	a.user = "CS-2"
	_, status := b.profile2tries(t, a)
	want(t, "another's user name, with a password that both have", status, 401)
	_, status = b.profile2tries(t, by201("CS-1"))
	want(t, "its own", status, 101)
}

func TestTCA03(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	a := by201("CS-1")
	a.password = "wrong"
	_, status := b.profile2tries(t, a)
	want(t, "a wrong password", status, 401)
	_, status = b.profile2tries(t, by201("CS-1"))
	want(t, "the right one", status, 101)
}

func TestTCA04(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.Processor("reference")
	config := b.TLS.Client() // which trusts only the authority that signed it
	config.ServerName = "127.0.0.2"
	tc := tls.Client(connect(t, b.AddrTLS), config)
	if err := tc.Handshake(); err != nil {
		t.Fatal(err)
	}
	c, status, _ := by201("CS-1").upgrade(t, tc)
	want(t, "over TLS", status, 101)
	c.mustAsk(t)
	b.MustUpgrade()
	c.mustAsk(t)
}

func TestTCA06(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11} {
		config := b.TLS.Client()
		config.ServerName = "127.0.0.2"
		config.MinVersion, config.MaxVersion = version, version
		_, status := by201("CS-1").overTLS(t, b.AddrTLS, config)
		want(t, tls.VersionName(version), status, 0)
	}
	logged(t, b.World, "handshake failed", "unsupported versions")
	_, status := b.profile2tries(t, by201("CS-1"))
	want(t, "TLS 1.2 and higher", status, 101)
}

func TestTCA07(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.Processor("reference")
	for _, rsa := range []bool{false, true} {
		cert := certificate(t, authorityOfBench(t).Authority, pki.Request{CommonName: "CS-1", RSA: rsa})
		c, status := b.profile3tries(t, try{identity: "CS-1", subprotocols: []string{"ocpp2.0.1"}}, cert)
		want(t, "its certificate", status, 101)
		c.mustAsk(t)
		b.MustUpgrade()
		c.mustAsk(t)
	}
}

func TestTCA08(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.Processor("reference")
	stranger, err := pki.NewAuthority("a stranger")
	if err != nil {
		t.Fatal(err)
	}
	ours := authorityOfBench(t).Authority
	station := try{identity: "CS-1", subprotocols: []string{"ocpp2.0.1"}}
	for _, c := range []struct {
		what   string
		cert   tls.Certificate
		status int
	}{
		{"unknown", certificate(t, stranger, pki.Request{CommonName: "CS-1"}), 0},
		{"expired", certificate(t, ours, pki.Request{CommonName: "CS-1", NotBefore: time.Now().AddDate(-1, 0, 0), NotAfter: time.Now().AddDate(0, 0, -1)}), 0},
		{"another's", certificate(t, ours, pki.Request{CommonName: "CS-2"}), 403},
		{"its own", certificate(t, ours, pki.Request{CommonName: "CS-1"}), 101},
	} {
		_, status := b.profile3tries(t, station, c.cert)
		want(t, c.what, status, c.status)
	}
}

func TestTCA19(t *testing.T) { raised(t, "ocpp2.0.1") }

// serials is a processor that knows the serial number of each station, and holds the
// certificates against it.
type serials struct {
	of map[string]string // by identity

	mu      sync.Mutex
	subject map[string]string // of its certificate, by identity
}

// start runs the processor until the test ends.
func (s *serials) start(t *testing.T, socket string) {
	s.subject = map[string]string{}
	ctx, cancel := context.WithCancel(t.Context())
	config := proc.Config{
		Authorize: func(_ context.Context, a proc.AuthorizeBody) proc.VerdictBody {
			if a.Certificate == nil || !strings.Contains(a.Certificate.Subject, "CN="+s.of[a.Identity]+".") {
				return proc.VerdictBody{Status: 403, Reason: "the certificate has another serial number"}
			}
			return proc.VerdictBody{Accept: true}
		},
		Opened: func(_ context.Context, ch *proc.Charger, o proc.OpenedBody) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.subject[ch.Identity()] = o.Certificate.Subject
		},
	}
	ended := make(chan error, 1)
	go func() {
		ended <- config.Run(ctx, socket, func(ctx context.Context, ch *proc.Charger, m proc.Message) ([]byte, error) {
			var boot struct{ ChargingStation struct{ SerialNumber string } }
			var parts []json.RawMessage
			if err := json.Unmarshal(m.Payload, &parts); err != nil || len(parts) != 4 {
				return nil, err
			}
			if err := json.Unmarshal(parts[3], &boot); err != nil {
				return nil, err
			}
			s.mu.Lock()
			subject := s.subject[ch.Identity()]
			s.mu.Unlock()
			if bytes.Contains(parts[2], []byte("BootNotification")) && !strings.Contains(subject, "CN="+boot.ChargingStation.SerialNumber+".") {
				return nil, ch.Close(ctx, 1008, "the serial number is not the certificate's")
			}
			return []byte(`[3,` + string(parts[1]) + `,{"status":"Accepted"}]`), nil
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the processor: %v", err)
		}
	})
}

// newSerialBench is a bench where a processor compares serial numbers.
func newSerialBench(t *testing.T) *bench {
	b := newBench(t, map[string]string{
		"listen-tls 0.0.0.0:8443,auth=none,client-auth=required": "listen-tls 0.0.0.0:8443,auth=processor,client-auth=required",
		"tls-client-identity cn":                                 "tls-client-identity processor",
	})
	s := &serials{of: map[string]string{"CS-1": "SN0001", "CS-2": "SN0002"}}
	s.start(t, b.Processors)
	return b
}

func TestSerialNumberInCommonName(t *testing.T) {
	t.Parallel()
	b := newSerialBench(t)
	station := try{identity: "CS-1", subprotocols: []string{"ocpp2.0.1"}}
	ours := authorityOfBench(t).Authority
	own := certificate(t, ours, pki.Request{CommonName: "SN0001.stations.example"})
	for range 2 {
		_, status := b.profile3tries(t, station, certificate(t, ours, pki.Request{CommonName: "SN0002.stations.example"}))
		want(t, "another's serial number", status, 403)
		c, status := b.profile3tries(t, station, own)
		want(t, "its own", status, 101)
		c.mustAsk(t)
		b.MustUpgrade()
		c.mustAsk(t)
	}
}

func TestB01FR12(t *testing.T) {
	t.Parallel()
	b := newSerialBench(t)
	cert := certificate(t, authorityOfBench(t).Authority, pki.Request{CommonName: "SN0001.stations.example"})
	boot := func(serial string) (*charger, string, error) {
		c, status := b.profile3tries(t, try{identity: "CS-1", subprotocols: []string{"ocpp2.0.1"}}, cert)
		want(t, "to connect", status, 101)
		text := `[2,"boot","BootNotification",{"reason":"PowerUp","chargingStation":{"serialNumber":"` + serial + `","model":"m","vendorName":"v"}}]`
		if err := wsutil.WriteClientText(c, []byte(text)); err != nil {
			t.Fatal(err)
		}
		b.MustUpgrade()
		op, payload, err := raw.Read(c.br)
		if op == raw.OpClose {
			code, reason := ws.ParseCloseFrameData([]byte(payload))
			return c, "", wsutil.ClosedError{Code: code, Reason: reason}
		}
		return c, payload, err
	}
	if _, answer, err := boot("SN0001"); err != nil || !strings.Contains(answer, "Accepted") {
		t.Errorf("with its serial number: %s, %v", answer, err)
	}
	if _, answer, err := boot("SN0002"); err == nil || !strings.Contains(err.Error(), "1008") {
		t.Errorf("with another's: %s, %v", answer, err)
	}
}
