package hostile

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/tests/harness"
	"holdfast/tests/raw"
	"holdfast/unixipc"
)

// frameBytes is a frame whose fields need not fit each other.
func frameBytes(length uint32, t unixipc.Type, flags byte, keyLen uint16, rest string) string {
	b := binary.BigEndian.AppendUint32(nil, length)
	b = append(b, byte(t), flags)
	b = binary.BigEndian.AppendUint16(b, keyLen)
	b = binary.BigEndian.AppendUint64(b, 1)
	return string(b) + rest
}

func orderBytes(t unixipc.Type, key, payload string) string {
	return string(unixipc.Frame{Type: t, Ref: 1, Key: []byte(key), Payload: []byte(payload)}.Append(nil))
}

// malformed frames, and why each is refused.
var malformed = []struct{ name, frame, why string }{
	{"short length", frameBytes(3, unixipc.Ack, 0, 0, ""), "shorter than the header"},
	{"length of zero", frameBytes(0, unixipc.Ack, 0, 0, ""), "shorter than the header"},
	{"huge length", frameBytes(1<<32-1, unixipc.Send, 0, 0, ""), "over the limit"},
	{"message over the limit", frameBytes(maxMessage+1+12, unixipc.Send, 0, 0, ""), "over the limit"},
	{"key longer than the frame", frameBytes(13, unixipc.Ack, 0, 2, "x"), "does not fit"},
	{"key of 256 bytes", frameBytes(12+256, unixipc.Ack, 0, 256, strings.Repeat("x", 256)), "over the limit of 255"},
	{"unknown flags", frameBytes(12, unixipc.Ack, 0x80, 0, ""), "unknown flags"},
	{"unknown type", frameBytes(12, 0x77, 0, 0, ""), "type 0x77"},
	{"type zero", frameBytes(12, 0, 0, 0, ""), "type 0x00"},
	{"frame of the gateway's", orderBytes(unixipc.Message, "x", "y"), "MESSAGE"},
	{"second HELLO", hello("again", 0), "HELLO comes once"},
	{"NACK that is no JSON", orderBytes(unixipc.Nack, "x", "{"), "NACK"},
	{"CLOSE that is no JSON", orderBytes(unixipc.Close, "x", "nope"), "CLOSE"},
}

// A malformed frame ends its link with REFUSED; what the link had in hand goes
// to another processor, and its chargers get their answers.
func TestMalformedFrames(t *testing.T) {
	w, good := start(t)
	for n, tt := range malformed {
		t.Run(tt.name, func(t *testing.T) {
			bad := join(t, w, fmt.Sprint("bad-", n))
			c, id := ownedBy(t, w, bad, fmt.Sprint("m-", n))
			bad.write(tt.frame)
			bad.expectRefused(tt.why)
			c.expect(answered("question"))
			if got := good.got(id); !slices.Equal(got, []string{"question"}) {
				t.Errorf("the other processor got %q", got)
			}
			c.Close()
		})
	}
}

// ownedBy opens chargers until one belongs to p, which has read its message
// and not acknowledged it.
func ownedBy(t testing.TB, w *harness.World, p *processor, prefix string) (c *charger, identity string) {
	t.Helper()
	names := make(chan string, 1)
	go func() {
		for {
			f, err := p.read()
			if err != nil {
				return
			}
			if key := string(f.Key); f.Type == unixipc.Message && strings.HasPrefix(key, prefix) {
				names <- key
				return
			}
		}
	}()
	var all []*charger
	for i := range 50 {
		id := fmt.Sprint(prefix, "-", i)
		c := open(t, w, id)
		c.send(raw.Text("question"))
		all = append(all, c)
	}
	select {
	case id := <-names:
		for i, c := range all {
			if fmt.Sprint(prefix, "-", i) == id {
				return c, id
			}
		}
	case <-time.After(harness.Deadline):
	}
	t.Fatal("no charger belongs to the processor")
	return nil, ""
}

// The first frame must be a good HELLO.
func TestBadHello(t *testing.T) {
	w, _ := start(t)
	for _, tt := range []struct{ name, frame, why string }{
		{"another frame", orderBytes(unixipc.Ack, "x", ""), "first frame must be HELLO"},
		{"no JSON", orderBytes(unixipc.Hello, "", "?"), "HELLO"},
		{"no name", orderBytes(unixipc.Hello, "", "{}"), "name"},
		{"a name with a line feed", orderBytes(unixipc.Hello, "", `{"name":"a\nb"}`), "name"},
		{"no such loop", orderBytes(unixipc.Hello, "", `{"name":"x","loop":1}`), "loop 1"},
		{"negative loop", orderBytes(unixipc.Hello, "", `{"name":"x","loop":-1}`), "loop -1"},
		{"negative window", orderBytes(unixipc.Hello, "", `{"name":"x","window":-1}`), "window"},
		{"another version", string(unixipc.Frame{Type: unixipc.Hello, Ref: 99, Payload: []byte(`{"name":"x"}`)}.Append(nil)), "version 99"},
		{"huge", frameBytes(1<<20, unixipc.Hello, 0, 0, ""), "over the limit"},
		{"HTTP", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "malformed"},
	} {
		p := dial(t, w, tt.name)
		p.write(tt.frame)
		p.expectRefused(tt.why)
		if _, err := w.WaitLog(t.Context(), tt.why, func(l harness.Line) bool {
			return l.Msg() == "processor refused" && strings.Contains(l.String("reason"), tt.why)
		}); err != nil {
			t.Error(err)
		}
	}
}

// Orders that are at fault are answered with a RESULT, and harm nobody.
func TestBadOrders(t *testing.T) {
	w, _ := start(t)
	p := join(t, w, "orders")
	for _, tt := range []struct{ name, frame, status string }{
		{"to nobody", orderBytes(unixipc.Send, "no such charger", "x"), "offline"},
		{"no key", orderBytes(unixipc.Send, "", "x"), "offline"},
		{"not UTF-8", orderBytes(unixipc.Send, "witness", "\xff"), "refused"},
		{"close with a code of its own", orderBytes(unixipc.Close, "witness", `{"code":1006}`), "refused"},
		{"close with a long reason", orderBytes(unixipc.Close, "witness", `{"reason":"`+strings.Repeat("x", 124)+`"}`), "refused"},
	} {
		p.write(tt.frame)
		if f := p.until(unixipc.Result); !strings.Contains(string(f.Payload), `"`+tt.status+`"`) {
			t.Errorf("%s: %s", tt.name, f.Payload)
		}
	}
	p.write(orderBytes(unixipc.Ack, "witness", "a reply to nothing") + orderBytes(unixipc.Ack, "nobody", "") + orderBytes(unixipc.Nack, "nobody", ""))
	if f := p.until(unixipc.Result); f.Flags&unixipc.ForDelivery == 0 || !strings.Contains(string(f.Payload), "refused") {
		t.Errorf("a reply to nothing: %s", f.Payload)
	}
}

// A processor that never reads, or never acknowledges, is hung: after
// -ack-timeout its chargers get their answers from another.
func TestHungProcessors(t *testing.T) {
	const timeout = time.Second
	w := harness.New(t, "-ack-timeout", timeout.String())
	good := join(t, w, "good")
	go good.answer()
	observeWithin(t, w, "witness", timeout+2*sane) // it may be among those that wait
	deaf := join(t, w, "deaf")
	const n = 40
	var chargers []*charger
	payload := strings.Repeat("x", 100_000)
	for i := range n {
		c := open(t, w, fmt.Sprint("h-", i))
		c.send(raw.Text(payload), raw.Text("second"))
		chargers = append(chargers, c)
	}
	for _, c := range chargers {
		c.expect(answered("%s", payload))
		c.expect(answered("second"))
	}
	w.Logged(w.Process, "hung: a delivery was not acknowledged for 1s: ")
	if got := deaf.messages; len(got) > 0 {
		t.Errorf("it read %d", len(got))
	}
	mute := join(t, w, "mute")
	c, _ := ownedBy(t, w, mute, "mute")
	c.expect(answered("question"))
	mute.expectRefused("hung")
}

// A processor that sends orders and reads none of the results is not read from,
// and takes no memory without end.
func TestProcessorThatOnlyTalks(t *testing.T) {
	w, _ := start(t)
	p := dial(t, w, "talker") // owns no charger
	p.write(orderBytes(unixipc.Hello, "", `{"name":"talker","subprotocols":["ocpp2.1"]}`))
	order := strings.Repeat(orderBytes(unixipc.Send, "nobody", "x"), 1000)
	sent := 0
	for ; sent < 256<<20; sent += len(order) {
		if err := p.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Write([]byte(order)); err != nil {
			break
		}
	}
	if sent >= 256<<20 {
		t.Error("it is read from for ever")
	}
	if pss, err := harness.PSS(w.Pid()); err != nil || pss > 200<<20 {
		t.Errorf("%d bytes in use, %v", pss, err)
	}
}

// A second gateway on the socket of a live one ends with an error that names
// it; one that was killed leaves a socket that is replaced.
func TestSocketPathTaken(t *testing.T) {
	w, _ := start(t)
	out, err := exec.Command(fmt.Sprintf("/proc/%d/exe", w.Pid()), "serve", "-listen", "127.0.0.1:0", "-processors", w.Processors).CombinedOutput()
	if want := fmt.Sprintf("%s is taken by the live process %d", w.Processors, w.Pid()); err == nil || !strings.Contains(string(out), want) {
		t.Errorf("%v: %s", err, out)
	}
	out, err = exec.Command(fmt.Sprintf("/proc/%d/exe", w.Pid()), "serve", "-listen", w.Addr, "-processors", w.Processors+".2").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "address already in use") || !strings.Contains(string(out), w.Addr) {
		t.Errorf("%v: %s", err, out)
	}
}

// The socket that a killed gateway leaves behind is replaced.
func TestStaleSocket(t *testing.T) {
	w := harness.New(t)
	binary, err := os.ReadFile(fmt.Sprintf("/proc/%d/exe", w.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "holdfast")
	if err := os.WriteFile(program, binary, 0o700); err != nil {
		t.Fatal(err)
	}
	w.Kill(w.Process)
	if _, err := os.Stat(w.Processors); err != nil {
		t.Fatalf("the test does not test: %v", err)
	}
	next := w.Run("next", program, "serve", "-listen", "127.0.0.1:0", "-processors", w.Processors, "-log-format", "json")
	w.Logged(next, "listening")
	join(t, w, "good")
}
