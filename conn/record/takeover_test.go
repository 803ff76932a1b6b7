package record

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// dribble hands up one byte at a time.
type dribble struct{ net.Conn }

func (d dribble) Read(b []byte) (int, error) { return d.Conn.Read(b[:min(1, len(b))]) }

// lump sends what is written only when its side waits for an answer, so that
// the last record of the handshake and the first data come in one piece.
type lump struct {
	net.Conn
	unsent []byte
}

func (l *lump) Write(b []byte) (int, error) {
	l.unsent = append(l.unsent, b...)
	return len(b), nil
}

func (l *lump) Read(b []byte) (int, error) {
	if err := l.flush(); err != nil {
		return 0, err
	}
	return l.Conn.Read(b)
}

func (l *lump) flush() error {
	b := l.unsent
	l.unsent = nil
	_, err := l.Conn.Write(b)
	return err
}

// exchange has the client send a first message with the end of its handshake,
// takes the connection over, and goes on for some messages through states.
func exchange(t *testing.T, server, client *tls.Config, below func(net.Conn) net.Conn, step int) (client1, server1 tls.ConnectionState) {
	t.Helper()
	near, nc := tcpPair(t)
	type end struct {
		state tls.ConnectionState
		err   error
	}
	done := make(chan end, 1)
	go func() {
		defer func() { _ = nc.(*net.TCPConn).CloseWrite() }()
		l := &lump{Conn: nc}
		tc := tls.Client(l, client)
		if err := tc.Handshake(); err != nil {
			done <- end{err: err}
			return
		}
		for i := range 5 {
			want := bytes.Repeat([]byte{'a' + byte(i)}, 1+i*step)
			if _, err := tc.Write(want); err != nil {
				done <- end{err: err}
				return
			}
			got := make([]byte, len(want))
			if _, err := io.ReadFull(tc, got); err != nil || !bytes.Equal(got, want) {
				done <- end{err: fmt.Errorf("message %d: %w", i, errors.Join(err, l.flush()))}
				return
			}
		}
		err := tc.CloseWrite()
		_ = nc.SetDeadline(time.Now().Add(20 * time.Second)) // which CloseWrite has changed
		done <- end{tc.ConnectionState(), errors.Join(err, l.flush())}
	}()
	c, state, err := Server(below(near), server)
	if err != nil {
		t.Fatal(err, (<-done).err)
	}
	buf := make([]byte, 10_000)
	for {
		n, err := c.Read(buf)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err, (<-done).err)
		}
		if _, err := c.Write(buf[:n]); err != nil {
			t.Fatal(err)
		}
		c.layer = throughState(t, c.layer)
	}
	e := <-done
	if e.err != nil {
		t.Fatal(e.err)
	}
	return e.state, state
}

// The take-over is right whatever the pieces in which the handshake comes, with
// and without tickets and client certificates, for the first connection and for
// one that resumes its session.
func TestTakeOver(t *testing.T) {
	roots := x509.NewCertPool()
	leaf, err := x509.ParseCertificate(certificates[0].Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	roots.AddCert(leaf)
	plain := func(nc net.Conn) net.Conn { return nc }
	slow := func(nc net.Conn) net.Conn { return dribble{nc} }
	each(t, func(t *testing.T, client *tls.Config) {
		for name, change := range map[string]func(*tls.Config){
			"tickets":             func(*tls.Config) {},
			"no tickets":          func(c *tls.Config) { c.SessionTicketsDisabled = true },
			"client certificates": func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert },
			"another curve":       func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP384} }, // HelloRetryRequest
			"protocols":           func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} },
		} {
			for how, below := range map[string]func(net.Conn) net.Conn{"whole": plain, "bytes": slow} {
				step := 9000
				if how == "bytes" {
					step = 50
				}
				sc, cc := serverConfig(), client.Clone()
				sc.SetSessionTicketKeys([][32]byte{{1}})
				change(sc)
				cc.Certificates = certificates[:1]
				cc.NextProtos = sc.NextProtos
				cc.ServerName = "gateway.test"
				cc.ClientSessionCache = tls.NewLRUClientSessionCache(4)
				for again := range 3 {
					state, own := exchange(t, sc, cc, below, step)
					if want := again > 0 && !sc.SessionTicketsDisabled; state.DidResume != want || own.DidResume != want {
						t.Errorf("%s, %s: connection %d resumes: %v; want %v", name, how, again, state.DidResume, want)
					}
				}
			}
		}
	})
}

// What is behind the request when a Conn is given up is not lost, whether it
// was received, opened or neither.
func TestDetach(t *testing.T) {
	each(t, func(t *testing.T, client *tls.Config) {
		for _, read := range []bool{true, false} {
			near, nc := tcpPair(t)
			failed := make(chan error, 1)
			go func() {
				l := &lump{Conn: nc}
				tc := tls.Client(l, client)
				_, err := tc.Write([]byte("request"))
				if err == nil {
					_, err = tc.Write([]byte("message"))
				}
				if err == nil {
					l.unsent = append(l.unsent, typeData) // and a byte of a record
					err = l.flush()
				}
				failed <- err
			}()
			c, _, err := Server(near, serverConfig())
			if err != nil {
				t.Fatal(err)
			}
			if err := <-failed; err != nil {
				t.Fatal(err)
			}
			want := "requestmessage"
			if read {
				b := make([]byte, len("request"))
				if _, err := io.ReadFull(c, b); err != nil || string(b) != "request" {
					t.Fatalf("%q, %v", b, err)
				}
				want = "message"
			}
			got, layer, early, err := c.Detach()
			if err != nil || got != near {
				t.Fatal(err)
			}
			if layer.read.keys != nil || layer.write.keys != nil {
				t.Error("the keys stay expanded, though no cache knows of the layer")
			}
			// The rest may still be on its way.
			for len(early) < len(want) || layer.Memory() == 0 {
				b := make([]byte, 1000)
				n, err := near.Read(b)
				if err != nil {
					t.Fatal(err)
				}
				more, err := layer.Open(b[:n])
				if err != nil {
					t.Fatal(err)
				}
				early = append(early, more...)
			}
			if string(early) != want {
				t.Errorf("%q; want %q", early, want)
			}
		}
	})
}

// Whoever does not speak TLS is told apart, and not closed.
func TestForeign(t *testing.T) {
	for _, tt := range []struct {
		sent string
		want error
	}{
		{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", ErrHTTP},
		{"POST /", ErrHTTP},
		{"OPTIONS *", ErrHTTP},
		{"\x00\x00\x00\x00\x00\x00", ErrNotTLS},
		{"SSH-2.0-OpenSSH", ErrNotTLS},
		{"\x80\x2e\x01\x03\x01\x00", ErrNotTLS}, // SSL 2
		{"\x17\x03\x03\x00\x01\x00", ErrNotTLS},
	} {
		for _, below := range []func(net.Conn) net.Conn{func(nc net.Conn) net.Conn { return nc }, func(nc net.Conn) net.Conn { return dribble{nc} }} {
			near, nc := tcpPair(t)
			if _, err := io.WriteString(nc, tt.sent); err != nil {
				t.Fatal(err)
			}
			if _, _, err := Server(below(near), serverConfig()); !errors.Is(err, tt.want) {
				t.Errorf("%q: %v; want %v", tt.sent, err, tt.want)
			}
			if _, err := io.WriteString(near, "HTTP/1.1 400 Bad Request\r\n\r\n"); err != nil {
				t.Errorf("%q: %v", tt.sent, err)
			}
		}
	}
}

// A handshake that is cut off, or goes wrong, is an error and nothing else.
func TestBrokenHandshakes(t *testing.T) {
	var recorded bytes.Buffer
	{
		near, nc := tcpPair(t)
		l := &lump{Conn: nc}
		go func() { _ = tls.Client(l, &tls.Config{InsecureSkipVerify: true}).Handshake() }()
		b := make([]byte, 4096)
		n, err := near.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		recorded.Write(b[:n])
		_ = near.Close()
	}
	hello := recorded.Bytes()
	for n := 0; n <= len(hello); n += 1 + n/10 {
		near, nc := tcpPair(t)
		if _, err := nc.Write(hello[:n]); err != nil {
			t.Fatal(err)
		}
		_ = nc.(*net.TCPConn).CloseWrite()
		if c, _, err := Server(near, serverConfig()); err == nil || c != nil {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
	near, nc := tcpPair(t)
	if _, err := nc.Write([]byte{typeHandshake, 3, 1, 0xff, 0xff, 1}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Server(near, serverConfig()); err == nil {
		t.Error("a record of 65535 bytes passes")
	}
}

// OpenSSL, with each of the suites of TLS 1.3, which Go's client cannot choose
// among: echoes through states, and KeyUpdates of its own (k) and with a request
// for ours (K).
func TestOpenSSL(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is missing: apt-get install openssl")
	}
	for _, suite := range []uint16{tls.TLS_AES_128_GCM_SHA256, tls.TLS_AES_256_GCM_SHA384, tls.TLS_CHACHA20_POLY1305_SHA256} {
		t.Run(tls.CipherSuiteName(suite), func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			cmd := exec.CommandContext(t.Context(), "openssl", "s_client", "-connect", l.Addr().String(), "-tls1_3", "-ciphersuites", tls.CipherSuiteName(suite))
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			nc, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = nc.Close() }()
			_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
			c, state, err := Server(nc, serverConfig())
			if err != nil {
				t.Fatal(err)
			}
			if state.CipherSuite != suite {
				t.Fatalf("negotiated %s", tls.CipherSuiteName(state.CipherSuite))
			}
			read, write := c.layer.read.secret, c.layer.write.secret
			for i, command := range []string{"", "k\n", "K\n", "K\n", "", "k\n"} {
				line := fmt.Sprintf("line %d\n", i)
				// s_client takes a command only at the beginning of what it reads.
				if command != "" {
					if _, err := io.WriteString(in, command); err != nil {
						t.Fatal(err)
					}
					// Its KeyUpdate comes before the line is even sent.
					raw := make([]byte, 1000)
					n, err := nc.Read(raw)
					if err != nil {
						t.Fatal(err)
					}
					if data, err := c.layer.Open(raw[:n]); err != nil || len(data) > 0 {
						t.Fatalf("KeyUpdate: %q, %v", data, err)
					}
					if c.layer.read.secret == read || c.layer.OwesUpdate() != (command == "K\n") {
						t.Fatalf("%q: no KeyUpdate, or the wrong one", command)
					}
					if err := c.answer(); err != nil {
						t.Fatal(err)
					}
					if changed := c.layer.write.secret != write; changed != (command == "K\n") {
						t.Fatalf("%q: our key changed: %v", command, changed)
					}
				}
				if _, err := io.WriteString(in, line); err != nil {
					t.Fatal(err)
				}
				got := make([]byte, len(line))
				if _, err := io.ReadFull(c, got); err != nil || string(got) != line {
					t.Fatalf("%q, %v; want %q", got, err, line)
				}
				if _, err := fmt.Fprintf(c, "echo of %s", line); err != nil {
					t.Fatal(err)
				}
				c.layer = throughState(t, c.layer)
				read, write = c.layer.read.secret, c.layer.write.secret
			}
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			_ = in.Close()
			if err := cmd.Wait(); err != nil {
				t.Errorf("s_client: %v", err)
			}
			for i := range 6 {
				if want := fmt.Sprintf("echo of line %d\n", i); !strings.Contains(out.String(), want) {
					t.Errorf("s_client did not print %q:\n%s", want, out.String())
				}
			}
		})
	}
}
