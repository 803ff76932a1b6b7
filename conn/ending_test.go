package conn

import (
	"errors"
	"io"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var policy = Close{Code: CodePolicy, Reason: "replaced", By: ByGateway}

func TestChargerCloses(t *testing.T) {
	for _, tt := range []struct {
		name    string
		payload []byte
		want    Close
		answer  string
	}{
		{"with code and reason", closePayload(1001, "reboot"), Close{Code: 1001, Reason: "reboot", By: ByCharger}, "\x03\xe9"},
		{"without a code", nil, Close{Code: CodeNoStatus, Reason: "", By: ByCharger}, ""},
		{"with a code of the application", closePayload(4999, ""), Close{Code: 4999, Reason: "", By: ByCharger}, "\x13\x87"},
	} {
		r := newRig(t, nil)
		r.echo()
		p := r.connect(tt.name, State{})
		p.send(textFrame("last words"), clientFrame{op: opClose, payload: tt.payload}, textFrame("not any more"))
		p.expect(opText, "last words")
		p.expect(opClose, tt.answer)
		p.expectEOF()
		if why := p.ended(); why != tt.want {
			t.Errorf("%s: %+v", tt.name, why)
		}
		if len(p.seen.messages) != 1 {
			t.Errorf("%s: %q", tt.name, p.seen.messages)
		}
		p.Close()
		r.gone(p)
	}
	for _, payload := range [][]byte{{3}, closePayload(1005, ""), closePayload(999, ""), closePayload(5000, "")} {
		r := newRig(t, nil)
		p := r.connect("CP", State{})
		p.send(clientFrame{op: opClose, payload: payload})
		p.expectClose(CodeProtocolError)
	}
	r := newRig(t, nil)
	p := r.connect("CP", State{})
	p.send(clientFrame{op: opClose, payload: closePayload(1000, "\xff")})
	p.expectClose(CodeInvalidData)
}

func TestGatewayCloses(t *testing.T) {
	r := newRig(t, nil)
	p := r.connect("CP", State{})
	want := Close{Code: CodeRestart, Reason: "new version", By: ByOperator}
	p.conn(func(c *Conn) {
		if _, err := c.Send([]byte("before"), false); err != nil {
			t.Error(err)
		}
		c.Close(want)
		c.Close(Close{Code: CodeNormal, Reason: "again", By: ByProcessor})
		if _, err := c.Send([]byte("after"), false); !errors.Is(err, ErrClosing) {
			t.Error(err)
		}
	})
	p.expect(opText, "before")
	p.expect(opClose, "\x03\xf4new version")
	p.send(textFrame("on its way"), clientFrame{op: opPing}) // no pong behind our close
	p.expectMessages([]string{"on its way"})
	p.send(clientFrame{op: opClose, payload: closePayload(CodeRestart, "")})
	p.expectEOF()
	if why := p.ended(); why != want {
		t.Errorf("%+v", why)
	}
	p.Close()
	r.gone(p)
}

// Without a Close frame the stream ends behind what was sent before, and the charger's
// last messages are received until it ends, too.
func TestCloseWithoutAFrame(t *testing.T) {
	r := newRig(t, nil)
	p := r.connect("CP", State{})
	want := Close{Code: CodeAbnormal, Reason: "again, please", By: ByOperator, NoFrame: true}
	p.conn(func(c *Conn) {
		if _, err := c.Send([]byte("before"), false); err != nil {
			t.Error(err)
		}
		c.Close(want)
		if _, err := c.Send([]byte("after"), false); !errors.Is(err, ErrClosing) {
			t.Error(err)
		}
	})
	p.expect(opText, "before")
	p.expectEOF()
	p.send(textFrame("on its way"), clientFrame{op: opPing})
	p.expectMessages([]string{"on its way"})
	p.Close()
	if why := p.ended(); why != want {
		t.Errorf("%+v", why)
	}
	r.gone(p)
}

// A charger that does not answer the close, or does not hang up after it, is
// let go of in time.
func TestCloseTimeouts(t *testing.T) {
	for _, tt := range []struct {
		name  string
		begin func(p *peer)
	}{
		{"no answer to ours", func(p *peer) { p.conn(func(c *Conn) { c.Close(policy) }) }},
		{"no hang-up after a drop", func(p *peer) { p.conn(func(c *Conn) { c.Drop(policy) }) }},
		{"no hang-up after its own close", func(p *peer) { p.send(clientFrame{op: opClose, payload: closePayload(1008, "replaced")}) }},
		{"talk after a drop", func(p *peer) { p.conn(func(c *Conn) { c.Drop(policy) }); p.send(textFrame("but"), textFrame("but")) }},
	} {
		r := newRig(t, func(c *Config) { c.CloseTimeout = 200 * time.Millisecond })
		p := r.connect(tt.name, State{})
		tt.begin(p)
		p.expectClose(CodePolicy)
		if why := p.ended(); why.Code != CodePolicy || why.Reason != "replaced" {
			t.Errorf("%s: %+v", tt.name, why)
		}
		r.gone(p)
		if len(p.seen.messages) > 0 {
			t.Errorf("%s: %q", tt.name, p.seen.messages)
		}
	}
}

// Drop tells its reason at once, and what was here already is delivered before.
func TestDrop(t *testing.T) {
	r := newRig(t, nil)
	r.onMessage = func(c *Conn, payload []byte, _ Kind) {
		if string(payload) == "0" {
			c.Pause()
		}
	}
	p := r.connect("CP", State{})
	frames, want := numbered(10)
	p.send(frames...)
	p.expectMessages(want[:1])
	p.conn(func(c *Conn) {
		c.Drop(policy)
		if len(p.seen.messages) != 10 || len(p.seen.closed) != 1 || p.seen.closed[0] != policy {
			t.Errorf("%q, %+v", p.seen.messages, p.seen.closed)
		}
		c.Drop(Close{Code: CodeNormal, Reason: "again", By: ByProcessor})
		c.Close(Close{Code: CodeNormal, Reason: "again", By: ByProcessor})
		c.Resume()
	})
	p.expectMessages(want)
	p.expectClose(CodePolicy)
	p.expectEOF()
	p.Close()
	r.gone(p)
}

// A fault among the messages that waited through a pause ends the connection
// once, and nothing behind it is handled.
func TestFaultBehindAPause(t *testing.T) {
	bad := clientFrame{op: opText, rsv: rsv1Bit, payload: []byte("\xff\xff\xff")}
	for _, tt := range []struct {
		name string
		end  func(c *Conn)
	}{
		{"drop", func(c *Conn) { c.Drop(policy) }},
		{"close", func(c *Conn) { c.Close(policy); c.Resume() }},
		{"resume", func(c *Conn) { c.Resume() }},
		{"network", func(c *Conn) { c.closeNow(Close{Code: CodeAbnormal, Reason: "test", By: ByNetwork}) }},
	} {
		r := newRig(t, nil)
		r.onMessage = func(c *Conn, payload []byte, _ Kind) {
			if string(payload) == "0" {
				c.Pause()
			}
		}
		p := r.connect(tt.name, State{DeflateBits: 15})
		p.send(textFrame("0"), textFrame("1"), bad, textFrame("2"))
		p.expectMessages([]string{"0"})
		p.conn(tt.end)
		p.ended()
		p.Close()
		r.gone(p)
		p.expectMessages([]string{"0", "1"})
	}
}

func TestBrokenConnections(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(p *peer)
		by   By
	}{
		{"end of stream", func(p *peer) { p.Close() }, ByCharger},
		{"half-close", func(p *peer) { _ = p.CloseWrite() }, ByCharger},
		{"half-close amid a frame", func(p *peer) { _, _ = p.Write([]byte{0x81}); _ = p.CloseWrite() }, ByCharger},
		{"reset", func(p *peer) { p.reset() }, ByNetwork},
		{"reset amid a frame", func(p *peer) { _, _ = p.Write(stream(textFrame("12345"))[:8]); p.reset() }, ByNetwork},
		{"reset amid a message", func(p *peer) { p.send(clientFrame{op: opText, more: true, payload: []byte("x")}); p.reset() }, ByNetwork},
	} {
		r := newRig(t, nil)
		p := r.connect(tt.name, State{})
		p.send(textFrame("whole"))
		p.expectMessages([]string{"whole"})
		tt.end(p)
		if why := p.ended(); why.Code != CodeAbnormal || why.By != tt.by || why.Reason == "" {
			t.Errorf("%s: %+v", tt.name, why)
		}
		r.gone(p)
		p.expectMessages([]string{"whole"})
		if tt.name == "half-close" {
			if b, err := io.ReadAll(p.br); err != nil || len(b) > 0 {
				t.Errorf("%s: %x, %v", tt.name, b, err)
			}
		}
	}
}

// A connection that is dropped for another has what it had sent before: it is in
// the socket, though the loop has not come to read it. What it sends while that
// is handled is not waited for: there might be no end of it.
func TestReadLeft(t *testing.T) {
	r := newRig(t, nil)
	p := r.connect("CP", State{})
	p.conn(func(c *Conn) {
		r.onMessage = func(_ *Conn, payload []byte, _ Kind) {
			p.send(textFrame("more after " + string(payload)))
			awaitInput(t, c)
		}
		p.send(textFrame("one"), textFrame("two"))
		awaitInput(t, c)
		c.ReadLeft()
		c.Drop(policy)
	})
	p.expectClose(CodePolicy)
	if why := p.ended(); why != policy || len(p.seen.messages) != 2 {
		t.Errorf("%+v, %q", why, p.seen.messages)
	}
}

// awaitInput waits until the socket has something to read.
func awaitInput(t *testing.T, c *Conn) {
	t.Helper()
	fds := []unix.PollFd{{Fd: c.fd, Events: unix.POLLIN}}
	if n, err := unix.Poll(fds, 10_000); n != 1 || err != nil {
		t.Errorf("nothing arrives: %v", err)
	}
}
