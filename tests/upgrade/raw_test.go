package upgrade

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"holdfast/tests/harness"
	"holdfast/tests/raw"
	"holdfast/tests/suites"
	"holdfast/unixipc"
)

// charger is a connection to the gateway, byte by byte.
type charger struct {
	net.Conn
	t        testing.TB
	identity string
	br       *bufio.Reader
	wire     *valve // below TLS; nil: ws
}

// dial opens a TCP connection for an identity, and nothing more.
func dial(t testing.TB, w *harness.World, identity string) *charger {
	t.Helper()
	nc := connect(t, w.Addr)
	return &charger{Conn: nc, t: t, identity: identity, br: bufio.NewReader(nc)}
}

func connect(t testing.TB, addr string) net.Conn {
	t.Helper()
	nc, err := net.DialTimeout("tcp", addr, harness.Deadline)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(3 * harness.Deadline)); err != nil {
		t.Fatal(err)
	}
	return nc
}

// dialOver is dial, and the TLS handshake; over ws for nil.
func dialOver(t testing.TB, w *harness.World, over *suites.Suite, identity string) *charger {
	t.Helper()
	if over == nil {
		return dial(t, w, identity)
	}
	wire := &valve{Conn: connect(t, w.AddrTLS)}
	tc, err := over.Dial(t.Context(), wire, w.AddrTLS, w.TLS.Client())
	if err != nil {
		t.Fatal(err)
	}
	return &charger{Conn: tc, t: t, identity: identity, br: bufio.NewReader(tc), wire: wire}
}

// A valve is a connection that holds back what is written while it is shut.
type valve struct {
	net.Conn
	shut bool
	held []byte
}

func (v *valve) Write(b []byte) (int, error) {
	if v.shut {
		v.held = append(v.held, b...)
		return len(b), nil
	}
	return v.Conn.Write(b)
}

// let lets n bytes pass of those that are held back.
func (v *valve) let(n int) error {
	_, err := v.Conn.Write(v.held[:n])
	v.held = v.held[n:]
	return err
}

func (c *charger) request(extra ...string) string { return raw.Request(c.identity, extra...) }

// open completes the handshake.
func open(t testing.TB, w *harness.World, identity string, extra ...string) *charger {
	t.Helper()
	return openOver(t, w, nil, identity, extra...)
}

// openOver is open over a suite of wss, or over ws for nil.
func openOver(t testing.TB, w *harness.World, over *suites.Suite, identity string, extra ...string) *charger {
	t.Helper()
	c := dialOver(t, w, over, identity)
	c.send(c.request(extra...))
	c.opened()
	return c
}

func (c *charger) opened() {
	c.t.Helper()
	resp, err := http.ReadResponse(c.br, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		c.t.Fatalf("%s: %v, %v", c.identity, resp, err)
	}
}

func (c *charger) send(b string) {
	c.t.Helper()
	if _, err := io.WriteString(c, b); err != nil {
		c.t.Fatal(err)
	}
}

// frame reads one frame of the gateway's.
func (c *charger) frame() (op byte, payload string, err error) { return raw.Read(c.br) }

// expect reads exactly this frame, pings of the gateway aside.
func (c *charger) expect(op byte, payload string) {
	c.t.Helper()
	for {
		gotOp, got, err := c.frame()
		if err == nil && gotOp == raw.OpPing && op != raw.OpPing {
			continue
		}
		if err != nil || gotOp != op || got != payload {
			c.t.Fatalf("%s got %x %.60q (%d bytes), %v; want %x %.60q (%d bytes)", c.identity, gotOp, got, len(got), err, op, payload, len(payload))
		}
		return
	}
}

// expectEnd reads a Close frame with this code, and the end of the stream.
func (c *charger) expectEnd(code int) {
	c.t.Helper()
	if got, err := raw.ReadClose(c.br); err != nil || got != code {
		c.t.Fatalf("%s: want a close with %d, got %d, %v", c.identity, code, got, err)
	}
	if b, err := c.br.ReadByte(); err != io.EOF {
		c.t.Errorf("%s: behind the close: %x, %v", c.identity, b, err)
	}
}

// processor is a link to the gateway, frame by frame.
type processor struct {
	*net.UnixConn
	t    testing.TB
	in   []byte
	kept []unixipc.Frame // read, and not asked for yet
}

// dialProcessor connects, and nothing more.
func dialProcessor(t testing.TB, w *harness.World) *processor {
	t.Helper()
	nc, err := net.DialTimeout("unix", w.Processors, harness.Deadline)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(3 * harness.Deadline)); err != nil {
		t.Fatal(err)
	}
	return &processor{UnixConn: nc.(*net.UnixConn), t: t}
}

func hello(name string, subprotocols ...string) string {
	body, _ := json.Marshal(unixipc.HelloBody{Name: name, Subprotocols: subprotocols})
	return bytesOf(unixipc.Frame{Type: unixipc.Hello, Ref: unixipc.Version, Payload: body})
}

func bytesOf(f unixipc.Frame) string { return string(f.Append(nil)) }

// join joins and returns when it is welcome.
func join(t testing.TB, w *harness.World, name string) *processor {
	t.Helper()
	p := dialProcessor(t, w)
	p.send(hello(name))
	p.next(unixipc.Welcome, "")
	return p
}

// joinAs is join with a HELLO of one's own.
func joinAs(t testing.TB, w *harness.World, h unixipc.HelloBody) *processor {
	t.Helper()
	p := dialProcessor(t, w)
	body, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	p.send(bytesOf(unixipc.Frame{Type: unixipc.Hello, Ref: unixipc.Version, Payload: body}))
	p.next(unixipc.Welcome, "")
	return p
}

func (p *processor) call(ref uint64, identity string, limit time.Duration, message string) {
	p.t.Helper()
	p.send(bytesOf(unixipc.Frame{Type: unixipc.Call, Ref: ref, Key: []byte(identity), Payload: unixipc.AppendCall(nil, limit, []byte(message))}))
}

// answered reads the RESULT of a CALL, which must be this answer.
func (p *processor) answered(ref uint64, identity, want string) {
	p.t.Helper()
	f := p.next(unixipc.Result, identity)
	_, answer, _ := unixipc.ParseAnswer(f.Payload)
	if f.Ref != ref || f.Flags&unixipc.Answered == 0 || string(answer) != want {
		p.t.Fatalf("RESULT of %d: %s; want that of %d: %s", f.Ref, f.Payload, ref, want)
	}
}

// seen reads the next SEEN, which must be this.
func (p *processor) seen(identity, event string) {
	p.t.Helper()
	f := p.next(unixipc.Seen, identity)
	var body unixipc.SeenBody
	if err := json.Unmarshal(f.Payload, &body); err != nil || body.Event != event {
		p.t.Fatalf("SEEN of %q: %s; want %s", identity, f.Payload, event)
	}
}

func (p *processor) send(b string) {
	p.t.Helper()
	if _, err := io.WriteString(p, b); err != nil {
		p.t.Fatal(err)
	}
}

// next returns the next frame of a type for a charger. What else comes is kept
// for later; OPENED is acknowledged, unless it is asked for.
func (p *processor) next(want unixipc.Type, identity string) unixipc.Frame {
	p.t.Helper()
	for i, f := range p.kept {
		if f.Type == want && string(f.Key) == identity {
			p.kept = append(p.kept[:i:i], p.kept[i+1:]...)
			return f
		}
	}
	for {
		f, n, err := unixipc.Parse(p.in, 32<<20)
		if n == 0 && err == nil {
			b := make([]byte, 64<<10)
			n, err = p.UnixConn.Read(b)
			p.in = append(p.in, b[:n]...)
			if err == nil {
				continue
			}
		}
		if err != nil {
			p.t.Fatalf("waiting for %v of %q: %v; kept: %v", want, identity, err, p.kept)
		}
		p.in = p.in[n:]
		f.Key, f.Payload = bytes.Clone(f.Key), bytes.Clone(f.Payload)
		switch {
		case f.Type == want && string(f.Key) == identity:
			return f
		case f.Type == unixipc.Opened:
			p.ack(f, "")
		default:
			p.kept = append(p.kept, f)
		}
	}
}

// message returns the next message of a charger, which must be this.
func (p *processor) message(identity, want string) unixipc.Frame {
	p.t.Helper()
	f := p.next(unixipc.Message, identity)
	if string(f.Payload) != want {
		p.t.Fatalf("%s sent %.60q, want %.60q", identity, f.Payload, want)
	}
	return f
}

func (p *processor) ack(f unixipc.Frame, reply string) {
	p.t.Helper()
	p.send(bytesOf(unixipc.Frame{Type: unixipc.Ack, Ref: f.Ref, Key: f.Key, Payload: []byte(reply)}))
}

// result reads the RESULT of a token.
func (p *processor) result(identity string, ref uint64) unixipc.Status {
	p.t.Helper()
	f := p.next(unixipc.Result, identity)
	var body unixipc.ResultBody
	if err := json.Unmarshal(f.Payload, &body); err != nil || f.Ref != ref {
		p.t.Fatalf("RESULT of %d: %s, %v; want that of %d", f.Ref, f.Payload, err, ref)
	}
	return body.Status
}
