package hostile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/tests/harness"
	"holdfast/unixipc"
)

// processor is a raw link to the gateway.
type processor struct {
	*net.UnixConn
	t    testing.TB
	name string
	in   []byte

	mu       sync.Mutex
	messages map[string][]string // of each charger, in order
	opened   map[string]int
}

func dial(t testing.TB, w *harness.World, name string) *processor {
	t.Helper()
	nc, err := net.DialTimeout("unix", w.Processors, harness.Deadline)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return &processor{UnixConn: nc.(*net.UnixConn), t: t, name: name, messages: map[string][]string{}, opened: map[string]int{}}
}

func hello(name string, window int) string {
	body, _ := json.Marshal(unixipc.HelloBody{Name: name, Window: window})
	return string(unixipc.Frame{Type: unixipc.Hello, Ref: unixipc.Version, Payload: body}.Append(nil))
}

// join joins and returns once the gateway has welcomed.
func join(t testing.TB, w *harness.World, name string) *processor {
	t.Helper()
	p := dial(t, w, name)
	p.write(hello(name, 0))
	if f, err := p.read(); err != nil || f.Type != unixipc.Welcome {
		t.Fatalf("%s: got %v, %v; want WELCOME", name, f.Type, err)
	}
	return p
}

func (p *processor) write(b string) {
	p.t.Helper()
	if _, err := io.WriteString(p, b); err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
}

// read reads one frame; it is good until the next.
func (p *processor) read() (unixipc.Frame, error) {
	for {
		f, n, err := unixipc.Parse(p.in, 8<<20)
		if err != nil {
			return f, err
		}
		if n > 0 {
			p.in = p.in[n:]
			return f, nil
		}
		b := make([]byte, 64<<10)
		n, err = p.UnixConn.Read(b)
		if err != nil {
			return f, err
		}
		p.in = append(p.in, b[:n]...)
	}
}

// until reads up to a frame of the type, acknowledging nothing.
func (p *processor) until(want unixipc.Type) unixipc.Frame {
	p.t.Helper()
	if err := p.SetReadDeadline(time.Now().Add(harness.Deadline)); err != nil {
		p.t.Fatal(err)
	}
	for {
		f, err := p.read()
		if err != nil {
			p.t.Fatalf("%s: waiting for %v: %v", p.name, want, err)
		}
		if f.Type == want {
			return f
		}
	}
}

// expectRefused reads up to REFUSED and the end of the link.
func (p *processor) expectRefused(why string) {
	p.t.Helper()
	var body unixipc.RefusedBody
	if f := p.until(unixipc.Refused); json.Unmarshal(f.Payload, &body) != nil || !strings.Contains(body.Why, why) {
		p.t.Errorf("refused with %s, want %q", f.Payload, why)
	}
	if f, err := p.read(); err == nil {
		p.t.Errorf("%v after REFUSED", f.Type)
	}
}

// answer acknowledges whatever comes until the link ends, a message with
// itself behind "re:".
func (p *processor) answer() {
	for {
		f, err := p.read()
		if err != nil {
			var op *net.OpError
			if !errors.Is(err, io.EOF) && !errors.As(err, &op) {
				p.t.Errorf("%s: %v", p.name, err)
			}
			return
		}
		ack := unixipc.Frame{Type: unixipc.Ack, Ref: f.Ref, Key: f.Key}
		p.mu.Lock()
		switch f.Type {
		case unixipc.Message:
			ack.Flags = f.Flags & unixipc.Binary
			ack.Payload = append([]byte("re:"), f.Payload...)
			if f.Flags&unixipc.Malformed != 0 {
				ack.Flags, ack.Payload = 0, []byte(answered("malformed"))
			}
			p.messages[string(f.Key)] = append(p.messages[string(f.Key)], string(f.Payload))
		case unixipc.Opened:
			p.opened[string(f.Key)]++
		case unixipc.Closed:
			p.opened[string(f.Key)]--
		default:
			p.mu.Unlock()
			continue
		}
		p.mu.Unlock()
		if _, err := p.Write(ack.Append(nil)); err != nil {
			return
		}
	}
}

// got is what came from a charger so far.
func (p *processor) got(identity string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.messages[identity][:len(p.messages[identity]):len(p.messages[identity])]
}

// start starts a gateway with a processor that answers, and a witness.
func start(t testing.TB, args ...string) (*harness.World, *processor) {
	t.Helper()
	w := harness.New(t, args...)
	p := join(t, w, "good")
	go p.answer()
	observe(t, w)
	return w, p
}

// answered is the answer of a good processor.
func answered(format string, args ...any) string { return "re:" + fmt.Sprintf(format, args...) }
