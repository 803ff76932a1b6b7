package wss

import (
	"crypto/tls"
	"testing"

	"holdfast/tests/pki"
	"holdfast/tests/raw"
	"holdfast/tests/suites"
)

// raised plays TC_083 and TC_A_19, which are one, from profile to profile.
func raised(t *testing.T, subprotocol string) {
	t.Parallel()
	b := newBench(t, nil)
	b.Processor("reference")
	station := by("CS-1")
	station.subprotocols = []string{subprotocol}
	cert := certificate(t, authorityOfBench(t).Authority, pki.Request{CommonName: "CS-1"})
	by := map[int]func() (*charger, int){
		1: func() (*charger, int) { return b.profile1tries(t, station) },
		2: func() (*charger, int) { return b.profile2tries(t, station) },
		3: func() (*charger, int) { return b.profile3tries(t, station, cert) },
	}
	for now := 1; now <= 3; now++ {
		c, status := by[now]()
		want(t, "the profile that it rises to", status, 101)
		c.mustAsk(t)
		for former := 1; former < now; former++ {
			_, status := by[former]()
			want(t, "the profile that it had", status, 403)
		}
		b.MustUpgrade()
		c.mustAsk(t) // refusing the other did not end this one
		if now > 1 {
			_, status = by[now-1]()
			want(t, "the profile that it had, after an upgrade", status, 403)
		}
		c, status = by[now]()
		want(t, "the new one again", status, 101)
		c.mustAsk(t)
		c.Close()
	}
	logged(t, b.World, "refused", "the charger has used security profile 3, and may not go back to 2")
	// Another one is still where it was.
	station.identity, station.user = "CS-2", "CS-2"
	_, status := b.profile1tries(t, station)
	want(t, "another station with profile 1", status, 101)
}

func TestTC083(t *testing.T) { raised(t, "ocpp1.6") }

func TestTC085(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.Processor("reference")
	for range 2 {
		_, status := b.profile1tries(t, try{identity: "CS-1"})
		want(t, "without Authorization", status, 401)
		c, status := b.profile1tries(t, by("CS-1"))
		want(t, "with the password", status, 101)
		c.mustAsk(t)
		b.MustUpgrade()
		c.mustAsk(t)
	}
}

func TestTC086(t *testing.T) {
	b := newBench(t, nil)
	b.Processor("reference")
	var held []*charger
	for _, id := range []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_256_GCM_SHA384,
	} {
		config := b.TLS.Client()
		config.ServerName = "127.0.0.2"
		suite := suites.Suite{Version: tls.VersionTLS12, ID: id}
		tc, err := suite.Client(t.Context(), connect(t, b.AddrTLS), config)
		if err != nil {
			t.Errorf("%s: %v", suite, err)
			continue
		}
		c, status, _ := by("CS-1").upgrade(t, tc)
		want(t, suite.String(), status, 101)
		c.mustAsk(t)
		held = append(held[:0], c) // a station has one connection
	}
	b.MustUpgrade()
	for _, c := range held {
		c.mustAsk(t)
	}
}

func TestTC087(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.Processor("reference")
	stranger, err := pki.NewAuthority("a stranger")
	if err != nil {
		t.Fatal(err)
	}
	station := try{identity: "CS-1"}
	_, status := b.profile3tries(t, station, tls.Certificate{})
	want(t, "no certificate", status, 0)
	_, status = b.profile3tries(t, station, certificate(t, stranger, pki.Request{CommonName: "CS-1"}))
	want(t, "a stranger's", status, 0)
	c, status := b.profile3tries(t, station, certificate(t, authorityOfBench(t).Authority, pki.Request{CommonName: "CS-1"}))
	want(t, "its own", status, 101)
	c.mustAsk(t)
	b.MustUpgrade()
	c.mustAsk(t)
}

func TestTC088(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.Processor("reference")
	station := by("CS-1")
	for range 2 {
		station.subprotocols = []string{"ocpp0.1"}
		c, status, subprotocol := station.upgrade(t, connect(t, b.Addr))
		want(t, "ocpp0.1: OCPP-J opens the WebSocket", status, 101)
		if op, payload, err := raw.Read(c.br); subprotocol != "" || err != nil || op != raw.OpClose {
			t.Errorf("ocpp0.1: subprotocol %q, then %d, %q, %v", subprotocol, op, payload, err)
		}
		station.subprotocols = []string{"ocpp0.1", "ocpp1.6"}
		c, status, subprotocol = station.upgrade(t, connect(t, b.Addr))
		want(t, "ocpp0.1,ocpp1.6", status, 101)
		if subprotocol != "ocpp1.6" {
			t.Errorf("the answer names %q", subprotocol)
		}
		c.mustAsk(t)
		b.MustUpgrade()
		c.mustAsk(t)
	}
}
