package conn

import (
	"bufio"
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/conn/record"
)

// tlsPeer is the charger's end of a wss connection. Its frames go through far.
type tlsPeer struct {
	*peer
	far *farEnd
}

// connectTLS adds a wss connection to the loop, with made-up keys.
func (r *rig) connectTLS(which int, early ...clientFrame) *tlsPeer {
	r.t.Helper()
	p := r.connect(fmt.Sprintf("wss-%d", which), State{TLS: layerOf(r.t, which, 1, false)}, early...)
	far := newFarEnd(r.t, p.TCPConn, which, 1)
	p.br = bufio.NewReader(far)
	return &tlsPeer{p, far}
}

func (p *tlsPeer) send(frames ...clientFrame) {
	p.rig.t.Helper()
	if _, err := p.far.Write(stream(frames...)); err != nil {
		p.rig.t.Fatal(err)
	}
}

func (p *tlsPeer) sendRaw(b []byte) {
	p.rig.t.Helper()
	if _, err := p.Write(b); err != nil {
		p.rig.t.Fatal(err)
	}
}

// expectEnd reads close_notify or an alert, and then nothing but the end of the
// stream.
func (p *tlsPeer) expectEnd(want error) {
	p.rig.t.Helper()
	if b, err := p.br.ReadByte(); !errors.Is(err, want) {
		p.rig.t.Fatalf("got %x, %v; want %v", b, err, want)
	}
	if rest, err := io.ReadAll(p.TCPConn); len(rest) > 0 || err != nil {
		p.rig.t.Fatalf("%d bytes, %v behind the end", len(rest), err)
	}
}

func eachTLS(t *testing.T, f func(t *testing.T, which int)) {
	for which, s := range tlsSuites {
		t.Run(tls.VersionName(s.version)+" "+tls.CipherSuiteName(s.id), func(t *testing.T) { f(t, which) })
	}
}

// A client that others wrote, from the handshake to the close: Go's own.
func TestTLSFromTheHandshake(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		r := newRig(t, nil)
		r.echo()
		client, server := tcpPair(t)
		_ = client.SetDeadline(time.Now().Add(2 * patience))
		tc := tls.Client(client, &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version})
		failed := make(chan error, 1)
		go func() { failed <- tc.Handshake() }()
		cert := selfSigned(t)
		rc, state, err := record.Server(server, &tls.Config{Certificates: []tls.Certificate{cert}})
		if err = errors.Join(err, <-failed); err != nil {
			t.Fatal(err)
		}
		if state.Version != version {
			t.Fatalf("%s", tls.VersionName(state.Version))
		}
		below, layer, early, err := rc.Detach()
		if err != nil || len(early) > 0 {
			t.Fatal(err)
		}
		fd, err := Take(below)
		if err != nil {
			t.Fatal(err)
		}
		p := &peer{TCPConn: client, rig: r, br: bufio.NewReader(tc), seen: new(seen)}
		r.do(func() {
			c, err := r.loop.Add(fd, State{Identity: "CP", TLS: layer}, p.seen, nil)
			if err != nil {
				t.Fatal(err)
			}
			p.handle = c.Handle()
		})
		for _, n := range []int{0, 1, 125, 126, 16_383, 16_384, 100_000, 1 << 20} {
			want := strings.Repeat("x", n)
			go func() { _, _ = tc.Write(stream(textFrame(want), clientFrame{op: opPing, payload: []byte("?")})) }()
			p.expectEither(t, want)
		}
		_, _ = tc.Write(stream(clientFrame{op: opClose, payload: closePayload(CodeNormal, "")}))
		p.expectClose(CodeNormal)
		if _, err := p.br.ReadByte(); err != io.EOF { // an end without close_notify is another error
			t.Errorf("%v", err)
		}
		if rest, err := io.ReadAll(client); len(rest) > 0 || err != nil {
			t.Errorf("%d bytes, %v behind close_notify", len(rest), err)
		}
		_ = tc.Close()
		r.gone(p)
	}
}

func selfSigned(t *testing.T) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// expectEither reads an echo and a pong; a pong may go ahead of its time.
func (p *peer) expectEither(t *testing.T, want string) {
	t.Helper()
	for range 2 {
		op, _, got, err := p.frame()
		if err != nil || op == opText && string(got) != want || op == opPong && string(got) != "?" || op != opText && op != opPong {
			t.Fatalf("frame %x of %d bytes, %v", op, len(got), err)
		}
	}
}

// However TLS ends, what came before is delivered, and both sides hear of the
// end in order: the Close frame, close_notify or an alert, the end of the stream.
func TestTLSEndings(t *testing.T) {
	bad := append([]byte{23, 3, 3, 0, 40}, make([]byte, 40)...)
	for _, tt := range []struct {
		name  string
		end   func(p *tlsPeer)
		code  int   // of the Close frame; 0: none
		alert error // what the charger reads behind
		why   Close
	}{
		{"Close frame", func(p *tlsPeer) {
			p.send(clientFrame{op: opClose, payload: closePayload(1001, "bye")}, textFrame("behind"))
		}, 1001, io.EOF, Close{Code: 1001, Reason: "bye", By: ByCharger}},
		{"our Close frame", func(p *tlsPeer) {
			p.conn(func(c *Conn) { c.Close(policy) })
			p.send(clientFrame{op: opClose, payload: closePayload(CodePolicy, "")})
		}, CodePolicy, io.EOF, policy},
		{"our Close frame, and close_notify", func(p *tlsPeer) {
			p.conn(func(c *Conn) { c.Close(policy) })
			p.sendRaw(p.far.out.AppendCloseNotify(nil))
		}, CodePolicy, io.EOF, policy},
		{"our Close frame, and a bad record", func(p *tlsPeer) {
			p.conn(func(c *Conn) { c.Close(policy) })
			p.sendRaw(bad)
		}, -CodePolicy, record.AlertError(20), policy},
		{"dropped", func(p *tlsPeer) { p.conn(func(c *Conn) { c.Drop(policy) }) }, CodePolicy, io.EOF, policy},
		{"bad frame", func(p *tlsPeer) { p.send(clientFrame{op: opText, plain: true}) }, CodeProtocolError, io.EOF, Close{Code: CodeProtocolError, Reason: "", By: ByGateway}},
		{"close_notify alone", func(p *tlsPeer) { p.sendRaw(p.far.out.AppendCloseNotify(nil)) }, 0, io.EOF, Close{Code: CodeAbnormal, Reason: "connection ended without a close frame", By: ByCharger}},
		{"bad record", func(p *tlsPeer) { p.sendRaw(bad) }, 0, record.AlertError(20), Close{Code: CodeAbnormal, Reason: "", By: ByGateway}},
		{"bad record, and another", func(p *tlsPeer) { p.sendRaw(slices.Concat(bad, bad)) }, 0, record.AlertError(20), Close{Code: CodeAbnormal, Reason: "", By: ByGateway}},
		{"ChangeCipherSpec", func(p *tlsPeer) { p.sendRaw([]byte{20, 3, 3, 0, 1, 1}) }, 0, record.AlertError(10), Close{Code: CodeAbnormal, Reason: "", By: ByGateway}},
		{"plain HTTP", func(p *tlsPeer) { p.sendRaw([]byte("GET / HTTP/1.1\r\n\r\n")) }, 0, record.AlertError(10), Close{Code: CodeAbnormal, Reason: "", By: ByGateway}},
		{"too long a record", func(p *tlsPeer) { p.sendRaw([]byte{23, 3, 3, 0xff, 0xff}) }, 0, record.AlertError(22), Close{Code: CodeAbnormal, Reason: "", By: ByGateway}},
		{"alert", func(p *tlsPeer) {
			p.sendRaw(p.far.out.AppendAlert(nil, &record.ViolationError{Alert: 80, Why: "x"}))
		}, 0, io.EOF, Close{Code: CodeAbnormal, Reason: "TLS: the charger sent the alert internal error", By: ByCharger}},
		{"end of the stream alone", func(p *tlsPeer) { _ = p.CloseWrite() }, 0, io.ErrUnexpectedEOF, Close{Code: CodeAbnormal, Reason: "connection ended without a close frame", By: ByCharger}},
	} {
		eachTLS(t, func(t *testing.T, which int) {
			r := newRig(t, nil)
			r.echo()
			p := r.connectTLS(which, textFrame("early"))
			p.expect(opText, "early")
			p.send(textFrame("first"), textFrame("second"))
			p.expect(opText, "first")
			p.expect(opText, "second")
			tt.end(p)
			// Whatever is sealed before an alert goes out; what is not, does not.
			if tt.code > 0 || tt.code < 0 && tt.alert == io.EOF {
				p.expectClose(max(tt.code, -tt.code))
			} else if tt.code < 0 {
				p.expectClose(-tt.code)
			}
			p.expectEnd(tt.alert)
			if why := p.ended(); why.Code != tt.why.Code || why.By != tt.why.By || tt.why.Reason != "" && why.Reason != tt.why.Reason {
				t.Errorf("%s: %+v; want %+v", tt.name, why, tt.why)
			}
			if want := []string{"early", "first", "second"}; !slices.Equal(p.seen.messages, want) {
				t.Errorf("%s: %q", tt.name, p.seen.messages)
			}
			p.Close()
			r.gone(p.peer)
		})
	}
}

// A bad record, or the end, in the same read as good messages: these come first,
// even if the charger is not being read from.
func TestTLSMessagesBeforeTheEnd(t *testing.T) {
	eachTLS(t, func(t *testing.T, which int) {
		for _, paused := range []bool{false, true} {
			for name, end := range map[string]func(l *record.Layer) []byte{
				"bad record":   func(*record.Layer) []byte { return []byte{23, 3, 3, 0, 0} },
				"close_notify": func(l *record.Layer) []byte { return l.AppendCloseNotify(nil) },
			} {
				r := newRig(t, nil)
				if paused {
					r.onMessage = func(c *Conn, _ []byte, _ Kind) { c.Pause() }
				}
				p := r.connectTLS(which)
				raw := p.far.out.Seal(nil, stream(textFrame("a"), textFrame("b")))
				raw = p.far.out.Seal(raw, stream(textFrame("c"))[:3])
				raw = p.far.out.Seal(raw, stream(textFrame("c"))[3:])
				p.sendRaw(append(raw, end(p.far.out)...))
				if why := p.ended(); why.Code != CodeAbnormal {
					t.Errorf("%s: %+v", name, why)
				}
				if !slices.Equal(p.seen.messages, []string{"a", "b", "c"}) {
					t.Errorf("%s, paused %v: %q", name, paused, p.seen.messages)
				}
				p.Close()
				r.gone(p.peer)
			}
		}
	})
}

// Unread data waits in the clear while reading is paused, the rest in the socket.
func TestTLSPause(t *testing.T) {
	eachTLS(t, func(t *testing.T, which int) {
		r := newRig(t, nil)
		r.onMessage = func(c *Conn, _ []byte, _ Kind) { c.Pause() }
		p := r.connectTLS(which)
		frames, want := numbered(20)
		for half := range slices.Chunk(frames, 10) {
			p.send(half...)
		}
		for i := range want {
			p.until(want[i], func(s *seen) bool { return len(s.messages) == i+1 })
			p.conn(func(c *Conn) { c.Resume() })
		}
		p.expectMessages(want)
		_ = p.Close()
		r.gone(p.peer)
	})
}

// A charger that reads slowly gets everything in order, and Sent tells of no
// byte that is not in the socket.
func TestTLSSlowReader(t *testing.T) {
	eachTLS(t, func(t *testing.T, which int) {
		r := newRig(t, func(c *Config) { c.WriteBuffer = 8 << 20 })
		p := r.connectTLS(which)
		_ = p.SetReadBuffer(16 << 10)
		var want []string
		var last uint64
		p.conn(func(c *Conn) {
			_ = unix.SetsockoptInt(int(c.fd), unix.SOL_SOCKET, unix.SO_SNDBUF, 16<<10)
			for i := range 60 {
				want = append(want, strings.Repeat(string(rune('a'+i%26)), 1+i*300))
				var err error
				if last, err = c.Send([]byte(want[i]), true); err != nil {
					t.Error(err)
				}
			}
		})
		total := 0
		for _, text := range want {
			p.expect(opBinary, text)
			total += len(text)
		}
		p.until("all to be sent", func(s *seen) bool { return len(s.sent) > 0 && s.sent[len(s.sent)-1] >= last })
		if !slices.IsSorted(p.seen.sent) || last < uint64(total) {
			t.Errorf("positions %v, the last %d", p.seen.sent, last)
		}
		_ = p.Close()
		r.gone(p.peer)
	})
}

// A charger that asks for KeyUpdates and reads nothing makes the gateway hold
// little, in every phase.
func TestTLSUpdateFlood(t *testing.T) {
	for _, closing := range []bool{false, true} {
		fd, nc := pipe(t)
		m := newManual(t)
		m.onMessage = nil
		c, err := m.loop.Add(fd, heldTLS(t, 0), new(seen), nil)
		if err != nil {
			t.Fatal(err)
		}
		for junk, errno := make([]byte, 64<<10), syscall.Errno(0); errno == 0; {
			_, errno = Write(fd, junk) // until the socket takes no more
		}
		if closing {
			c.Close(policy)
		}
		s := scribe{secret: secretOf(1)}
		for range 1000 {
			raw := s.seal(22, []byte{24, 0, 0, 1, 1})
			s.update()
			if _, err := nc.Write(append(raw, s.seal(23, stream(textFrame("x")))...)); err != nil {
				break // it is not read from any more: as good
			}
			m.spin(t)
		}
		if o := c.out; o == nil || cap(o.records) > 4<<10 {
			t.Errorf("closing %v: %d bytes of records are held", closing, cap(c.out.records))
		}
		_ = nc.Close()
		c.closeNow(policy)
		m.close()
	}
}

// scribe seals records of TLS 1.3 on its own, of any type.
type scribe struct {
	secret []byte
	seq    uint64
}

// secretOf is what layerOf gives a charger to write with.
func secretOf(seed uint64) []byte {
	b := make([]byte, 32)
	binary.BigEndian.PutUint64(b, seed)
	b[8] = 1
	return b
}

func (s *scribe) expand(label string, n int) []byte {
	label = "tls13 " + label
	info := string([]byte{0, byte(n), byte(len(label))}) + label + "\x00"
	out, err := hkdf.Expand(sha256.New, s.secret, info, n)
	if err != nil {
		panic(err)
	}
	return out
}

func (s *scribe) update() { s.secret, s.seq = s.expand("traffic upd", 32), 0 }

func (s *scribe) seal(typ byte, content []byte) []byte {
	block, err := aes.NewCipher(s.expand("key", 16))
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	iv := s.expand("iv", 12)
	binary.BigEndian.PutUint64(iv[4:], binary.BigEndian.Uint64(iv[4:])^s.seq)
	s.seq++
	n := len(content) + 1 + 16
	header := []byte{23, 3, 3, byte(n >> 8), byte(n)}
	return aead.Seal(header, iv, append(bytes.Clone(content), typ), header)
}

// A request for a KeyUpdate is answered before anything else is sent, and many
// at once with one.
func TestTLSUpdatesAreAnswered(t *testing.T) {
	r := newRig(t, nil)
	r.echo()
	p := r.connectTLS(0)
	s := scribe{secret: secretOf(1)}
	update := func(request byte) (raw []byte) {
		raw = s.seal(22, []byte{24, 0, 0, 1, request})
		s.update()
		return raw
	}
	before := p.far.in.AppendState(nil)
	p.sendRaw(slices.Concat(update(1), update(0), update(1), s.seal(23, stream(textFrame("x")))))
	p.expect(opText, "x")
	after := p.far.in.AppendState(nil)
	if bytes.Equal(before[:30], after[:30]) {
		t.Error("no KeyUpdate came")
	}
	// One KeyUpdate: the echo is record 0 of the next key, and the only one.
	reader := scribe{secret: secretOf(1)}
	reader.secret[8] = 2
	reader.update()
	if !bytes.Contains(after, reader.secret) {
		t.Error("the gateway is not on its next key")
	}
	p.sendRaw(update(1)) // alone: answered at once
	if _, err := p.far.Conn.Read(make([]byte, 27)); err != nil {
		t.Fatal(err)
	}
	_ = p.Close()
	r.gone(p.peer)
}

// manual is a loop that the test itself turns.
type manual struct {
	*rig
	ids atomic.Uint32
}

func newManual(t testing.TB) *manual {
	m := &manual{rig: &rig{changed: make(chan struct{})}}
	if tt, ok := t.(*testing.T); ok {
		m.t = tt
	}
	cfg := Config{MaxMessage: 1 << 20, WriteBuffer: 256 << 10, MemoryLimit: 64 << 20, WriteTimeout: patience, CloseTimeout: patience}
	var err error
	if m.loop, err = NewLoop(cfg, m.rig); err != nil {
		t.Fatal(err)
	}
	m.onMessage = func(c *Conn, payload []byte, kind Kind) {
		if string(payload) == "close" {
			c.Close(policy)
			return
		}
		_, _ = c.Send(payload, kind == Binary)
	}
	return m
}

// spin turns until nothing is left to do.
func (m *manual) spin(t testing.TB) {
	for {
		events, err := m.loop.poller.collect()
		if err != nil {
			t.Fatal(err)
		}
		if len(events) == 0 && len(m.loop.resumed) == 0 && len(m.loop.dirty) == 0 {
			return
		}
		m.loop.turn(events)
	}
}

// handOver gives c to the loop of to. In vain, it is taken back, and c stays.
func (m *manual) handOver(t testing.TB, c *Conn, to *manual, inVain bool) *Conn {
	t.Helper()
	m.loop.BeginHandover(true)
	out, _ := m.loop.Export(nil, 1, &m.ids)
	fd, err := unix.FcntlInt(uintptr(c.fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	next, err := to.loop.Adopt(fd, out[0].State, c.User)
	if err != nil {
		t.Fatalf("state %x: %v", out[0].State, err)
	}
	if inVain {
		next.Unstage()
		m.loop.EndHandover()
		return c
	}
	_ = m.loop.poller.remove(int(c.fd))
	_ = unix.Close(int(c.fd))
	c.forget()
	return next
}

func (m *manual) close() { _ = m.loop.Close() }

// pipe is a stream without a network in between: what is written is there.
func pipe(t testing.TB) (fd int, nc net.Conn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fds[0], &rawEnd{fd: fds[1]}
}

// rawEnd is a charger's end of a pipe: it never blocks, and io.ErrNoProgress
// says that there is nothing.
type rawEnd struct {
	net.Conn
	fd int
}

func (e *rawEnd) Read(b []byte) (int, error) {
	switch n, errno := Read(e.fd, b); {
	case errno == syscall.EAGAIN:
		return 0, io.ErrNoProgress
	case errno != 0:
		return 0, errno
	case n == 0:
		return 0, io.EOF
	default:
		return n, nil
	}
}

func (e *rawEnd) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	n, errno := Write(e.fd, b)
	if errno != 0 {
		return n, errno
	}
	return n, nil
}

func (e *rawEnd) Close() error { return unix.Close(e.fd) }

// held is a state with TLS.
func heldTLS(t testing.TB, which int) State {
	return held(func(s *State) { s.TLS = layerOf(t, which, 1, false) })
}

// readAll is what far can read now.
func readAll(t testing.TB, far *farEnd) (data string, end error) {
	t.Helper()
	b := make([]byte, 64<<10)
	for {
		n, err := far.Read(b)
		data += string(b[:n])
		if err == io.ErrNoProgress {
			return data, nil
		}
		if err != nil {
			return data, err
		}
	}
}

// Handed over behind each byte of what a charger sends, or nearly so, the
// connection goes on: the same messages, answers and end.
func TestTLSHandOverAtEachByteReceived(t *testing.T) {
	eachTLS(t, func(t *testing.T, which int) {
		far := layerOf(t, which, 1, true)
		raw := far.Seal(nil, fragments[:7])
		raw = far.Seal(raw, fragments[7:20])
		if far.Version() == tls.VersionTLS13 {
			raw = far.AppendKeyUpdate(raw)
		}
		raw = far.Seal(raw, fragments[20:])
		raw = far.Seal(raw, stream(textFrame("close"), textFrame("still"), clientFrame{op: opClose, payload: closePayload(CodePolicy, "")}))
		raw = far.AppendCloseNotify(raw)
		pong := append(appendHeader(nil, opPong, false, 4), "ping"...)
		want := string(pong) + string(append(appendHeader(nil, opText, false, 6), "ab日cd"...)) + string(appendClose(nil, CodePolicy, policy.Reason))
		want = strings.ReplaceAll(want, "ab日cd", "ab\xe6\x97\xa5cd")
		for _, inVain := range []bool{false, true} {
			for cut := range len(raw) + 1 {
				fd, nc := pipe(t)
				end := newFarEnd(t, nc, which, 1)
				one, two := newManual(t), newManual(t)
				told := new(seen)
				c, err := one.loop.Add(fd, heldTLS(t, which), told, nil)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = nc.Write(raw[:cut])
				one.spin(t)
				at := one
				if c.phase != phaseGone && c.loop != nil {
					if one.handOver(t, c, two, inVain); !inVain {
						at = two
					}
				}
				_, _ = nc.Write(raw[cut:])
				at.spin(t)
				data, err := readAll(t, end)
				if len(data) != len(want)-1 && len(data) != len(want) || err != io.EOF {
					t.Errorf("cut at %d, in vain %v: the charger reads %q, %v; want %q", cut, inVain, data, err, want)
				}
				if !slices.Equal(told.messages, []string{"ab\xe6\x97\xa5cd", "close", "still"}) || len(told.closed) != 1 || told.closed[0] != policy {
					t.Errorf("cut at %d, in vain %v: %q, %+v", cut, inVain, told.messages, told.closed)
				}
				_ = nc.Close()
				at.spin(t)
				if at.loop.Len() != 0 || at.loop.memory != 0 {
					t.Errorf("cut at %d, in vain %v: %d connections, %d bytes are left", cut, inVain, at.loop.Len(), at.loop.memory)
				}
				one.close()
				two.close()
			}
		}
	})
}

// Handed over behind each byte of the records that it writes, the gateway goes
// on in the middle of one; Close frame and close_notify follow.
func TestTLSHandOverAtEachByteSent(t *testing.T) {
	eachTLS(t, func(t *testing.T, which int) {
		for cut, size := 0, 1; cut < size; cut++ {
			for _, inVain := range []bool{false, true} {
				fd, nc := pipe(t)
				end := newFarEnd(t, nc, which, 1)
				one, two := newManual(t), newManual(t)
				told := new(seen)
				c, err := one.loop.Add(fd, heldTLS(t, which), told, nil)
				if err != nil {
					t.Fatal(err)
				}
				first, err := c.Send([]byte("the first"), false)
				if err != nil {
					t.Fatal(err)
				}
				// The socket takes cut bytes.
				sealed := bytes.Clone(c.sealNext(c.out))
				size = len(sealed)
				if cut > 0 {
					if n, errno := Write(int(c.fd), sealed[:cut]); n != cut {
						t.Fatal(errno)
					}
				}
				c.out.records = sealed[cut:]
				c.dirty, one.loop.dirty = false, nil
				c.stall(cut)
				second, err := c.Send([]byte("the second"), false)
				if err != nil {
					t.Fatal(err)
				}
				c.dirty, one.loop.dirty = false, nil
				at, next := one, c
				if next = one.handOver(t, c, two, inVain); !inVain {
					at = two
				} else {
					next.markDirty()
				}
				at.spin(t)
				if _, err := next.Send([]byte("the third"), false); err != nil {
					t.Fatal(err)
				}
				next.Drop(policy)
				at.spin(t)
				data, err := readAll(t, end)
				var want []byte
				for _, text := range []string{"the first", "the second", "the third"} {
					want = append(appendHeader(want, opText, false, len(text)), text...)
				}
				want = appendClose(want, CodePolicy, policy.Reason)
				if data != string(want) || err != io.EOF {
					t.Errorf("cut at %d, in vain %v: %q, %v; want %q", cut, inVain, data, err, want)
				}
				if len(told.sent) == 0 || !slices.Contains(told.sent, second) || second <= first {
					t.Errorf("cut at %d: sent %d, not %d", cut, told.sent, second)
				}
				_ = nc.Close()
				at.spin(t)
				one.close()
				two.close()
			}
		}
	})
}

// A connection whose end waits to be written can be handed over: with the alert
// behind records that were cut short, or with close_notify.
func TestTLSHandOverOfEnds(t *testing.T) {
	eachTLS(t, func(t *testing.T, which int) {
		for name, tt := range map[string]struct {
			raw  func(l *record.Layer) []byte
			want error
			all  bool // what was not sealed is still sent
		}{
			"violation":    {func(*record.Layer) []byte { return []byte{23, 3, 3, 0, 0} }, record.AlertError(20), false},
			"alert":        {func(l *record.Layer) []byte { return l.AppendAlert(nil, &record.ViolationError{Alert: 80}) }, io.EOF, false},
			"close_notify": {func(l *record.Layer) []byte { return l.AppendCloseNotify(nil) }, io.EOF, true},
			"Close frame": {func(l *record.Layer) []byte {
				return l.Seal(nil, stream(clientFrame{op: opClose, payload: closePayload(CodeNormal, "")}))
			}, io.EOF, true},
		} {
			fd, nc := pipe(t)
			end := newFarEnd(t, nc, which, 1)
			one, two := newManual(t), newManual(t)
			told := new(seen)
			c, err := one.loop.Add(fd, heldTLS(t, which), told, nil)
			if err != nil {
				t.Fatal(err)
			}
			long := strings.Repeat("x", sealBatch+10_000)
			if _, err := c.Send([]byte(long), false); err != nil {
				t.Fatal(err)
			}
			// The socket takes a part of the first batch.
			sealed := bytes.Clone(c.sealNext(c.out))
			_, _ = Write(int(c.fd), sealed[:1000])
			c.out.records = sealed[1000:]
			c.dirty, one.loop.dirty = false, nil
			c.stall(1000)
			_, _ = nc.Write(tt.raw(end.out))
			c.read()
			if c.phase != phaseLingering {
				t.Fatalf("%s: phase %d", name, c.phase)
			}
			c.dirty, one.loop.dirty = false, nil
			one.handOver(t, c, two, false)
			var data string
			for err = nil; err == nil; {
				two.spin(t)
				var more string
				more, err = readAll(t, end)
				data += more
			}
			if !errors.Is(err, tt.want) {
				t.Errorf("%s: %v", name, err)
			}
			frame := string(append(appendHeader(nil, opText, false, len(long)), long...))
			if tt.all && !strings.HasPrefix(data, frame) || !tt.all && (len(data) == 0 || !strings.HasPrefix(frame, data)) {
				t.Errorf("%s: %d bytes came", name, len(data))
			}
			if len(told.closed) != 1 {
				t.Errorf("%s: %+v", name, told.closed)
			}
			_ = nc.Close()
			two.spin(t)
			one.close()
			two.close()
		}
	})
}

// Whatever moves a record number makes the connection count as changed: the
// copy of its state that another process has is not to be gone on with.
func TestTLSChangesCount(t *testing.T) {
	eachTLS(t, func(t *testing.T, which int) {
		for name, happen := range map[string]func(c *Conn, nc net.Conn, far *record.Layer){
			"message": func(_ *Conn, nc net.Conn, far *record.Layer) { _, _ = nc.Write(far.Seal(nil, stream(textFrame("x")))) },
			"part": func(_ *Conn, nc net.Conn, far *record.Layer) {
				_, _ = nc.Write(far.Seal(nil, stream(textFrame("x")))[:1])
			},
			"pong": func(_ *Conn, nc net.Conn, far *record.Layer) {
				_, _ = nc.Write(far.Seal(nil, stream(clientFrame{op: opPong})))
			},
			"ping": func(_ *Conn, nc net.Conn, far *record.Layer) {
				_, _ = nc.Write(far.Seal(nil, stream(clientFrame{op: opPing})))
			},
			"send":  func(c *Conn, _ net.Conn, _ *record.Layer) { _, _ = c.Send([]byte("x"), false) },
			"close": func(c *Conn, _ net.Conn, _ *record.Layer) { c.Close(policy) },
			"drop":  func(c *Conn, _ net.Conn, _ *record.Layer) { c.Drop(policy) },
			"bad":   func(_ *Conn, nc net.Conn, _ *record.Layer) { _, _ = nc.Write([]byte{1}) },
			"KeyUpdate": func(_ *Conn, nc net.Conn, far *record.Layer) {
				if far.Version() == tls.VersionTLS13 {
					_, _ = nc.Write(far.AppendKeyUpdate(nil))
				} else {
					_, _ = nc.Write([]byte{23})
				}
			},
		} {
			fd, nc := pipe(t)
			m := newManual(t)
			m.onMessage = nil
			c, err := m.loop.Add(fd, heldTLS(t, which), new(seen), nil)
			if err != nil {
				t.Fatal(err)
			}
			m.loop.BeginHandover(true)
			out, _ := m.loop.Export(nil, 1, &m.ids)
			happen(c, nc, layerOf(t, which, 1, true))
			m.spin(t)
			if bytes.Equal(c.State.append(nil, 0), out[0].State) {
				t.Errorf("%s: changes nothing", name)
			}
			if again, _ := m.loop.ExportChanged(nil, &m.ids); len(again) != 1 || !again[0].Again {
				t.Errorf("%s: does not count as a change", name)
			}
			_ = nc.Close()
			m.spin(t)
			m.close()
		}
	})
}

// What an idle connection costs, after messages both ways: its place in the
// table, and with TLS the layer. The keys of those that spoke last stay expanded
// (warmLayers), whatever the number of connections; here they are many of few,
// and are not counted.
func TestTLSIdleMemory(t *testing.T) {
	const n = 1000
	perConn := func(layer func() *record.Layer) int {
		m := newManual(t)
		defer m.close()
		var ends [n]net.Conn
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range ends {
			var fd int
			fd, ends[i] = pipe(t)
			s := held(func(s *State) { s.TLS = layer() })
			if _, err := m.loop.Add(fd, s, new(seen), nil); err != nil {
				t.Fatal(err)
			}
		}
		for _, nc := range ends {
			raw := stream(textFrame("a message"))
			if layer() != nil {
				raw = layerOf(t, 0, 1, true).Seal(nil, raw)
			}
			_, _ = nc.Write(raw)
			m.spin(t)
			if n, err := nc.Read(make([]byte, 1000)); n == 0 || err != nil {
				t.Fatalf("%d, %v", n, err)
			}
		}
		// Not counted: the expanded keys, what the loop shares, and the notes
		// of the test itself.
		m.loop.sealing, m.loop.spare = sealing{warm: record.NewCache(1)}, nil
		for slot := range m.loop.table.used {
			c := m.loop.table.at(slot)
			c.User = nil
			if c.TLS != nil {
				c.TLS = layerAgain(t, c.TLS)
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		for _, nc := range ends {
			_ = nc.Close()
		}
		m.loop.handler = nobody{}
		m.spin(t)
		return (int(after.HeapAlloc) - int(before.HeapAlloc)) / n
	}
	ws := perConn(func() *record.Layer { return nil })
	wss := perConn(func() *record.Layer { return layerOf(t, 0, 1, false) })
	t.Logf("idle: ws %d bytes, wss %d bytes", ws, wss)
	if wss > 1<<10 {
		t.Errorf("an idle wss connection holds %d bytes", wss)
	}
}

// layerAgain is l without its expanded keys.
func layerAgain(t *testing.T, l *record.Layer) *record.Layer {
	next, err := record.ParseState(l.AppendState(nil))
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// nobody is a Handler that does not care.
type nobody struct{}

func (nobody) Message(*Conn, []byte, Kind) {}
func (nobody) Sent(*Conn, uint64)          {}
func (nobody) Closed(*Conn, Close)         {}
func (nobody) Alarm(time.Time)             {}
func (nobody) BeginTurn(time.Time)         {}
func (nobody) EndTurn()                    {}
