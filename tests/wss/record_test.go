package wss

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"

	"github.com/gobwas/ws/wsutil"

	"holdfast/tests/harness"
	"holdfast/tests/raw"
)

// valve is a connection that holds back what is written while it is shut.
type valve struct {
	net.Conn
	shut bool
	held [][]byte // records
}

func (v *valve) Write(b []byte) (int, error) {
	if v.shut {
		v.held = append(v.held, bytes.Clone(b))
		return len(b), nil
	}
	return v.Conn.Write(b)
}

// Each of these ends the connection with the alert that it calls for; the client,
// crypto/tls, reads it.
func TestBadRecords(t *testing.T) {
	w := harness.NewWithProcessor(t)
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	const (
		unexpectedMessage = tls.AlertError(10)
		badRecordMAC      = tls.AlertError(20)
		recordOverflow    = tls.AlertError(22)
		protocolVersion   = tls.AlertError(70)
	)
	both := func(a tls.AlertError) [2]tls.AlertError { return [2]tls.AlertError{a, a} }
	for _, c := range []struct {
		name   string
		mangle func(one, two []byte) []byte
		alert  [2]tls.AlertError // of TLS 1.2, of 1.3
		reason string
	}{
		{"forged", func(one, two []byte) []byte { one[len(one)-1] ^= 1; return one }, both(badRecordMAC), "forged"},
		{"forged at its start", func(one, two []byte) []byte { one[5] ^= 0x80; return one }, both(badRecordMAC), "forged"},
		{"replayed", func(one, two []byte) []byte { return join(one, one) }, both(badRecordMAC), "not the next one"},
		{"reordered", func(one, two []byte) []byte { return join(two, one) }, both(badRecordMAC), "not the next one"},
		{"left out", func(one, two []byte) []byte { return two }, both(badRecordMAC), "not the next one"},
		{"truncated", func(one, two []byte) []byte { one[4]--; return one[:len(one)-1] }, both(badRecordMAC), "forged"},
		{"too short to be one", func(one, two []byte) []byte { return []byte{23, 3, 3, 0, 1, 0} }, both(badRecordMAC), "cannot be one"},
		{"too long", func(one, two []byte) []byte { return []byte{23, 3, 3, 0xff, 0xff} }, both(recordOverflow), "65535 bytes"},
		{"ChangeCipherSpec", func(one, two []byte) []byte { return []byte{20, 3, 3, 0, 1, 1} }, both(unexpectedMessage), "type 20"},
		{"unknown type", func(one, two []byte) []byte { return []byte{99, 3, 3, 0, 1, 1} }, both(unexpectedMessage), "type 99"},
		{
			"plain handshake message", func(one, two []byte) []byte { return append([]byte{22, 3, 3, 0, 4}, 1, 0, 0, 0) },
			[2]tls.AlertError{badRecordMAC, unexpectedMessage},
			"",
		},
		{
			"plain alert", func(one, two []byte) []byte { return []byte{21, 3, 3, 0, 2, 1, 0} },
			[2]tls.AlertError{badRecordMAC, unexpectedMessage},
			"",
		},
		{"HTTP", func(one, two []byte) []byte { return []byte("GET / HTTP/1.1\r\n\r\n") }, both(unexpectedMessage), "type 71"},
		{"another version", func(one, two []byte) []byte { one[2] = 1; return one }, [2]tls.AlertError{protocolVersion, badRecordMAC}, ""},
	} {
		for i, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(c.name+", "+tls.VersionName(version), func(t *testing.T) {
				t.Parallel()
				config := only(w.TLS.Client(), version)
				config.ServerName = "127.0.0.2"
				v := &valve{Conn: connect(t, w.AddrTLS)}
				tc := tls.Client(v, config)
				identity := strings.NewReplacer(" ", "-", ",", "").Replace(t.Name()[len("TestBadRecords/"):])
				ch := open(t, tc, identity)
				ch.mustAsk(t)
				v.shut = true
				for range 2 {
					if _, err := tc.Write([]byte(raw.Ping())); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := v.Conn.Write(c.mangle(v.held[0], v.held[1])); err != nil {
					t.Fatal(err)
				}
				var err error
				for b := make([]byte, 100); err == nil; {
					_, err = ch.br.Read(b)
				}
				if err.Error() != "remote error: "+c.alert[i].Error() {
					t.Errorf("the client sees %q, want %v", err, c.alert[i])
				}
				harness.Until(t, "the log to tell why", func() bool {
					for _, l := range w.Log.Lines() {
						if l.Msg() == "closed" && l.String("charger") == identity {
							return strings.Contains(l.String("reason"), c.reason) && l.String("by") == "gateway"
						}
					}
					return false
				})
			})
		}
	}
}

// A stream that ends inside a record is an end like any other.
func TestTruncatedStream(t *testing.T) {
	w := harness.NewWithProcessor(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		config := only(w.TLS.Client(), version)
		config.ServerName = "127.0.0.2"
		v := &valve{Conn: connect(t, w.AddrTLS)}
		ch := open(t, tls.Client(v, config), "TRUNCATED")
		ch.mustAsk(t)
		v.shut = true
		if _, err := ch.Write([]byte(raw.Ping())); err != nil {
			t.Fatal(err)
		}
		if _, err := v.Conn.Write(v.held[0][:9]); err != nil {
			t.Fatal(err)
		}
		v.Conn.Close()
		harness.Until(t, "the log to tell of it", func() bool {
			for _, l := range w.Log.Lines() {
				if l.Msg() == "closed" && l.String("charger") == "TRUNCATED" && l.String("by") == "charger" {
					return true
				}
			}
			return false
		})
	}
}

// A client that asks for renegotiation is told no.
func TestRenegotiation(t *testing.T) {
	openssl := harness.Need(t, "openssl")
	w := harness.NewWithProcessor(t)
	cmd := exec.Command(openssl, "s_client", "-brief", "-tls1_2", "-connect", w.AddrTLS, "-CAfile", w.TLS.ServersFile)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out := new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	if _, err := io.WriteString(in, raw.Request("RENEGOTIATE")); err != nil {
		t.Fatal(err)
	}
	harness.Until(t, "the charger to be open", func() bool { return w.Log.Contains("RENEGOTIATE") })
	if _, err := in.Write([]byte("R\n")); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if !strings.Contains(out.String(), "unexpected message") {
		t.Errorf("openssl says:\n%s", out)
	}
	logged(t, w, "closed", "there is no renegotiation here")
}

// sizes is a connection that notes how long the records are that come.
type sizes struct {
	net.Conn
	unread []byte
	data   []int // bytes after the header
}

func (s *sizes) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	s.unread = append(s.unread, b[:n]...)
	for len(s.unread) >= 5 {
		length := int(s.unread[3])<<8 | int(s.unread[4])
		if len(s.unread) < 5+length {
			break
		}
		if s.unread[0] == 23 {
			s.data = append(s.data, length)
		}
		s.unread = s.unread[5+length:]
	}
	return n, err
}

// A charger with a small buffer gets no record that is longer, before and after an
// upgrade that changes the limit.
func TestRecordSize(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		w := harness.NewWithProcessor(t, "-tls-record-size", "1KiB")
		s := &sizes{Conn: connect(t, w.AddrTLS)}
		config := only(w.TLS.Client(), version)
		config.ServerName = "127.0.0.2"
		c := open(t, tls.Client(s, config), "CP-1")
		c.mustAsk(t)
		long := strings.Repeat("x", 12_000)
		for range 2 {
			before := len(s.data)
			if out, err := exec.Command(harness.Holdfast(), "send", "-admin-socket", w.AdminSocket(), "CP-1", `[3,"0",{"x":"`+long+`"}]`).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			text, err := wsutil.ReadServerText(struct {
				io.Reader
				io.Writer
			}{c.br, c.Conn})
			if err != nil || len(text) < len(long) {
				t.Fatalf("%d bytes, %v", len(text), err)
			}
			for _, n := range s.data[before:] {
				if n > 1<<10+64 { // and what the suite adds
					t.Errorf("%s: a record of %d bytes", tls.VersionName(version), n)
				}
			}
			if n := len(s.data) - before; n < 12 {
				t.Errorf("%s: %d records", tls.VersionName(version), n)
			}
			w.MustUpgrade()
		}
	}
}
