package conn

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"holdfast/unixipc/tlv"
)

// additionStream is what a charger sends in TestAdditionsAtEverySplit: long and
// short messages, cut into frames, with control frames in between; one turns out not
// to be UTF-8.
var additionStream = stream(
	clientFrame{op: opText, more: true, payload: []byte("€ and 日")}, clientFrame{op: opPing, payload: []byte("ping")}, clientFrame{more: true, payload: []byte("\xe6\x97")}, clientFrame{payload: []byte("\xa5.")},
	clientFrame{op: opText, more: true, payload: []byte("as text")}, clientFrame{more: true, payload: []byte("caf\xe9")}, clientFrame{payload: []byte("\xfc.")},
	textFrame("whole"), clientFrame{op: opBinary, payload: []byte("\xff\xfe\xfd\xfc")},
	clientFrame{op: opText, rsv: rsv1Bit, more: true, payload: []byte("\xff\x80\x01")}, clientFrame{payload: []byte("\x02\x03")},
	clientFrame{op: opClose, payload: closePayload(CodeNormal, "bye")})

// A state that was exported behind any byte and again behind any later one is
// put together from the two; a third export adds to that.
func TestAdditionsAtEverySplit(t *testing.T) {
	tolerant := testBounds
	tolerant.anyText = true
	decode := func(s *State, b []byte) {
		for b = bytes.Clone(b); len(b) > 0; {
			_, rest, _, fault := s.decoder.next(b, tolerant)
			if fault != nil {
				t.Fatal(fault)
			}
			b = rest
		}
	}
	export := func(s *State, reader State, addition bool) State {
		b := s.encode(nil, 7, addition)
		next, due, err := parseAddition(b, &reader, nil)
		if err != nil || due != 7 {
			t.Fatalf("%x: %v", b, err)
		}
		clear(b) // nothing of it is kept
		if want := s.append(nil, 7); !bytes.Equal(next.append(nil, 7), want) {
			t.Fatalf("became\n%x, is\n%x", next.append(nil, 7), want)
		}
		if addition {
			if p := s.decoder.part; p != nil && p.sent > 0 {
				if rest := len(p.msg) - p.sent; len(b) > len(s.append(nil, 7))-len(p.msg)+rest+8 {
					t.Fatalf("an addition of %d bytes for %d", len(b), rest)
				}
			}
		}
		s.markSent()
		return next
	}
	n := len(additionStream)
	for i := range n + 1 {
		for j := i; j <= n; j++ {
			s := held(func(s *State) { s.DeflateBits = 15 })
			decode(&s, additionStream[:i])
			reader := export(&s, State{}, false)
			decode(&s, additionStream[i:j])
			reader = export(&s, reader, true)
			last := min(n, j+3)
			decode(&s, additionStream[j:last])
			reader = export(&s, reader, true)
			decode(&reader, additionStream[last:]) // and it goes on
			if reader.decoder.part != nil {
				t.Fatalf("split at %d and %d: %+v is left", i, j, reader.decoder.part)
			}
		}
	}
}

// growing is a manual loop with one connection, and the charger's end of it.
type growing struct {
	*manual
	c   *Conn
	nc  net.Conn
	far *farEnd // nil: ws
}

func grow(t *testing.T, which int) *growing {
	fd, nc := pipe(t)
	g := &growing{manual: newManual(t), nc: nc}
	s := held(nil)
	if which >= 0 {
		s, g.far = heldTLS(t, which), newFarEnd(t, nc, which, 1)
	}
	err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 8<<10)
	if err != nil {
		t.Fatal(err)
	}
	if g.c, err = g.loop.Add(fd, s, new(seen), nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	return g
}

// wire is b as it goes over the network.
func (g *growing) wire(b []byte) []byte {
	if g.far == nil {
		return b
	}
	return g.far.out.Seal(nil, b)
}

// arrive has the connection receive b.
func (g *growing) arrive(t *testing.T, b []byte) {
	t.Helper()
	for len(b) > 0 {
		n, err := g.nc.Write(b[:min(len(b), 8<<10)])
		if err != nil {
			t.Fatal(err)
		}
		b = b[n:]
		g.spin(t)
	}
}

// stage begins a hand-over.
func (g *growing) stage(t *testing.T, to *manual) *Conn {
	t.Helper()
	g.loop.BeginHandover(true)
	out, _ := g.loop.Export(nil, 1, &g.ids)
	fd, err := unix.FcntlInt(uintptr(g.c.fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	next, err := to.loop.Adopt(fd, out[0].State, g.c.User)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// again exports what has changed, and returns its size.
func (g *growing) again(t *testing.T, next *Conn) int {
	t.Helper()
	out, _ := g.loop.ExportChanged(nil, &g.ids)
	if len(out) != 1 || !out[0].Again {
		t.Fatalf("changed: %+v", out)
	}
	if err := next.Readopt(out[0].State); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(next.State.append(nil, 0), g.c.State.append(nil, 0)) {
		t.Fatal("the staged state is another")
	}
	return len(out[0].State)
}

// eachLayer runs f over ws, and over each suite.
func eachLayer(t *testing.T, f func(t *testing.T, which int)) {
	for which := -1; which < len(tlsSuites); which++ {
		t.Run(fmt.Sprint(which), func(t *testing.T) { f(t, which) })
	}
}

const (
	halfMessage = 900 << 10
	stateRest   = 512 // bytes of a state without its buffers, at most
)

func TestFreezeSendsWhatWasAddedToAMessage(t *testing.T) {
	eachLayer(t, func(t *testing.T, which int) {
		g, to := grow(t, which), newManual(t)
		text := strings.Repeat("日本 ", halfMessage/7) + "!"
		frame := stream(textFrame(text))
		got := ""
		take := func(_ *Conn, payload []byte, _ Kind) { got = string(payload) }
		g.onMessage, to.onMessage = take, take
		g.arrive(t, g.wire(frame[:halfMessage/2]))
		frame = frame[halfMessage/2:]

		for range 2 { // rolled back, twice
			next := g.stage(t, to)
			for _, n := range []int{1, 2, 1000, 5000, 100_000} {
				b := g.wire(frame[:n])
				frame = frame[n:]
				// Cut the record, and see the rest of it alone.
				cut := len(b)
				if which >= 0 {
					cut = len(b) - 1
				}
				g.arrive(t, b[:cut])
				if size := g.again(t, next); size > n+stateRest {
					t.Errorf("%d bytes came, %d were sent", n, size)
				}
				if cut < len(b) {
					g.arrive(t, b[cut:])
					if size := g.again(t, next); size > min(n, 17<<10)+stateRest {
						t.Errorf("a record of %d bytes ended, %d were sent", n, size)
					}
				}
			}
			next.Unstage()
			g.loop.EndHandover()
			if to.loop.memory != 0 {
				t.Errorf("%d bytes are left", to.loop.memory)
			}
		}
		next := g.stage(t, to)
		g.arrive(t, g.wire(frame[:10]))
		if size := g.again(t, next); size > 100+stateRest {
			t.Errorf("%d bytes were sent", size)
		}
		g.c.forget()
		tail := g.wire(frame[10:])
		g.manual = to
		g.arrive(t, tail)
		if got != text {
			t.Errorf("%d bytes came, not the %d that were sent", len(got), len(text))
		}
	})
}

// A TLS record is cut short: what was exported of it is not sent again.
func TestFreezeSendsWhatWasAddedToARecord(t *testing.T) {
	for which := range tlsSuites {
		g, to := grow(t, which), newManual(t)
		b := g.wire(bytes.Repeat(stream(clientFrame{op: opPong, payload: []byte("unsolicited")}), 800))
		g.arrive(t, b[:10_000])
		next := g.stage(t, to)
		for at := 10_000; at < 13_000; at += 500 {
			g.arrive(t, b[at:at+500])
			if size := g.again(t, next); size > 500+stateRest {
				t.Errorf("suite %d: 500 bytes came, %d were sent", which, size)
			}
		}
		g.arrive(t, b[13_000:])
		if size := g.again(t, next); size > stateRest {
			t.Errorf("suite %d: the record is complete, %d bytes were sent", which, size)
		}
	}
}

// Unread input shrinks from its front, message by message.
func TestFreezeKeepsUnreadInput(t *testing.T) {
	eachLayer(t, func(t *testing.T, which int) {
		g, to := grow(t, which), newManual(t)
		var got []string
		g.onMessage = func(c *Conn, payload []byte, _ Kind) {
			got = append(got, string(payload))
			c.Pause()
		}
		to.onMessage = g.onMessage
		var all []byte
		var want []string
		for i := range 7 {
			want = append(want, fmt.Sprint(i, strings.Repeat("u", 1000)))
			all = append(all, stream(textFrame(want[i]))...)
		}
		g.arrive(t, g.wire(all))
		next := g.stage(t, to)
		for range 3 {
			g.c.Resume()
			g.spin(t)
			if size := g.again(t, next); size > stateRest {
				t.Errorf("%d bytes were sent of unread input that the reader holds", size)
			}
		}
		g.c.Pause()
		g.c.Touch()
		if size := g.again(t, next); size > stateRest {
			t.Errorf("%d bytes were sent of what stayed the same", size)
		}
		g.c.forget()
		for range 3 {
			next.Resume()
			to.spin(t)
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %.40q", got)
		}
	})
}

// What was unread is decoded up to the middle of a message; other input takes its
// place.
func TestOtherUnreadInput(t *testing.T) {
	g, to := grow(t, -1), newManual(t)
	g.onMessage = nil
	g.arrive(t, stream(clientFrame{op: opText, more: true, payload: []byte("zero, ")}))
	g.c.Pause()
	g.c.decoder.keep(stream(clientFrame{more: true, payload: []byte("one, ")}))
	next := g.stage(t, to)
	g.c.Resume()
	g.spin(t)
	g.c.Pause()
	g.c.ingest(stream(clientFrame{more: true, payload: []byte("two!!")}), false)
	g.again(t, next)
}

// An alert takes the place of output that was exported already.
func TestAlertCutsOffOutput(t *testing.T) {
	g, to := grow(t, 0), newManual(t)
	for range 3 { // not so much that it is not read from
		if _, err := g.c.Send(make([]byte, 40_000), true); err != nil {
			t.Fatal(err)
		}
		g.spin(t)
	}
	if g.c.out.pending() == g.c.out.sealed {
		t.Fatal("all of it is sealed: the test does not test")
	}
	next := g.stage(t, to)
	g.arrive(t, []byte{typeNone, 3, 3, 0, 0})
	g.again(t, next)
}

const typeNone = 99 // no type of a record

// Output grows at its end and shrinks at its front, in records and before.
func TestFreezeSendsWhatWasAddedToOutput(t *testing.T) {
	eachLayer(t, func(t *testing.T, which int) {
		g, to := grow(t, which), newManual(t)
		message := func(i int) string { return fmt.Sprint(i, strings.Repeat("o", 20_000)) }
		n := 0
		send := func() {
			if _, err := g.c.Send([]byte(message(n)), true); err != nil {
				t.Fatal(err)
			}
			n++
			g.spin(t)
		}
		for g.c.out == nil || g.c.out.pending() < 150_000 {
			send()
		}
		next := g.stage(t, to)
		send()
		if size := g.again(t, next); size > 20_100+stateRest {
			t.Errorf("20,000 bytes were added, %d were sent", size)
		}
		var in bytes.Buffer
		// read has the charger take bytes, and the connection write more.
		read := func(n int) {
			b := make([]byte, n)
			for n > 0 {
				k, err := g.nc.Read(b[:n])
				if err == io.ErrNoProgress {
					return
				}
				in.Write(b[:k])
				if n -= k; err != nil {
					t.Fatal(err)
				}
				g.spin(t)
			}
		}
		for g.c.out != nil && g.c.out.pending() > 60_000 {
			before := len(g.c.out.records)
			read(7000)
			if !g.c.changed {
				continue // the socket has taken nothing
			}
			size := g.again(t, next)
			if sealed := len(g.c.out.records) > before; !sealed && size > stateRest {
				t.Errorf("%d bytes were sent of output that the reader holds", size)
			}
		}
		g.c.forget()
		g.manual = to
		read(1 << 20)
		far := io.Reader(&in)
		if g.far != nil {
			g.far.Conn = &recorded{in: &in}
			far = g.far
		}
		p := &peer{br: bufio.NewReader(far)}
		for i := range n {
			if op, _, b, err := p.frame(); err != nil || op != opBinary || string(b) != message(i) {
				t.Fatalf("message %d of %d: %x %.20q, %v", i, n, op, b, err)
			}
		}
	})
}

// With a reader that knows no additions, what has changed is sent whole.
func TestNoAdditionsForAnOlderReader(t *testing.T) {
	g := grow(t, -1)
	frame := stream(textFrame(strings.Repeat("x", 10_000)))
	g.arrive(t, frame[:5000])
	g.loop.BeginHandover(false)
	g.loop.Export(nil, 1, &g.ids)
	g.arrive(t, frame[5000:5001])
	out, _ := g.loop.ExportChanged(nil, &g.ids)
	if s, _, err := parseState(out[0].State); err != nil || len(s.decoder.part.msg) < 4900 {
		t.Errorf("%+v, %v", s, err)
	}
}

// hostileAdditions do not fit what is held.
var hostileAdditions = []struct {
	name, held, sample string
	change             map[uint32][]byte
}{
	{"message, and none is held", "idle", "fragments", map[uint32][]byte{fieldMessageKept: number(3)}},
	{"message of less than is held", "fragments", "fragments", map[uint32][]byte{fieldMessageKept: number(5), fieldMessage: nil}},
	{"message of more than is held", "fragments", "fragments", map[uint32][]byte{fieldMessageKept: number(7), fieldMessage: nil}},
	{"message of another opcode", "fragments", "fragments", map[uint32][]byte{fieldMessageKept: number(6), fieldMessage: nil, fieldMessageOp: number(2)}},
	{"message that is compressed", "fragments", "compressed-fragments", map[uint32][]byte{fieldMessageKept: number(6)}},
	{"message with another end", "utf8", "utf8", map[uint32][]byte{fieldMessageKept: number(3), fieldMessage: []byte("b")}},
	{"message that ends in no UTF-8", "utf8", "utf8", map[uint32][]byte{fieldMessageKept: number(3), fieldMessage: []byte("\xff"), fieldUTF8: nil}},
	{"message longer than its frame", "payload", "payload", map[uint32][]byte{fieldMessageKept: number(2), fieldMessage: []byte("x")}},
	{"message of nothing", "idle", "idle", map[uint32][]byte{fieldMessageKept: number(1)}},
	{"message of 2^40", "fragments", "fragments", map[uint32][]byte{fieldMessageKept: number(1 << 40)}},
	{"message of 0", "fragments", "fragments", map[uint32][]byte{fieldMessageKept: {0}}},
	{"unread, and none is held", "idle", "early", map[uint32][]byte{fieldUnreadKept: number(1)}},
	{"unread of more than is held", "early", "early", map[uint32][]byte{fieldUnreadKept: number(2), fieldUnread: nil}},
	{"output, and none is held", "idle", "unwritten", map[uint32][]byte{fieldUnwrittenKept: number(1)}},
	{"output of more than is held", "unwritten", "unwritten", map[uint32][]byte{fieldUnwrittenKept: number(8), fieldUnwritten: nil}},
	{"output at another position", "unwritten", "unwritten", map[uint32][]byte{fieldUnwrittenKept: number(6), fieldUnwritten: nil}},
	{"output of nothing", "idle", "idle", map[uint32][]byte{fieldUnwrittenKept: number(1)}},
	{"records, and none are held", "unwritten", "tls-sealed", map[uint32][]byte{fieldRecordsKept: number(1)}},
	{"records of more than are held", "tls-sealed", "tls-sealed", map[uint32][]byte{fieldRecordsKept: number(1 << 20), fieldRecords: nil}},
}

func sampleState(t testing.TB, name string) State {
	t.Helper()
	for _, tt := range stateSamples {
		if tt.name == name {
			s, _, err := parseState(tt.s.append(nil, tt.due))
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
	}
	t.Fatalf("no sample %q", name)
	return State{}
}

func TestAdditionsHostile(t *testing.T) {
	for _, tt := range hostileAdditions {
		b := rewrite(t, tt.sample, tt.change)
		s := sampleState(t, tt.held)
		before := s.append(nil, 0)
		if got, _, err := parseAddition(b, &s, nil); err == nil {
			t.Errorf("%s passes: %+v", tt.name, got)
		}
		if !bytes.Equal(s.append(nil, 0), before) {
			t.Errorf("%s: what is held has changed", tt.name)
		}
		if got, _, err := parseState(b); err == nil {
			t.Errorf("%s is a state: %+v", tt.name, got)
		}
	}
	for _, id := range []uint32{fieldMessageKept, fieldUnreadKept, fieldUnwrittenKept, fieldRecordsKept} {
		b := rewrite(t, "idle", nil)
		b = tlv.AppendEnd(tlv.AppendUint(b[:len(b)-1], id, 1))
		s := sampleState(t, "idle")
		if _, _, err := parseAddition(b, &s, nil); err == nil {
			t.Errorf("field %d passes without being required", id)
		}
	}
}

// What an addition comes to is a state that can be, however little the two fit.
func FuzzConnAddition(f *testing.F) {
	for _, a := range stateSamples {
		for _, b := range stateSamples {
			s := sampleState(f, b.name)
			s.markSent()
			f.Add(a.s.append(nil, a.due), s.encode(nil, b.due, true))
		}
	}
	f.Fuzz(func(t *testing.T, former, b []byte) {
		held, _, err := parseState(former)
		if err != nil {
			return
		}
		before := held.append(nil, 0)
		s, due, err := parseAddition(b, &held, nil)
		if err != nil {
			if !bytes.Equal(held.append(nil, 0), before) {
				t.Fatalf("%x was refused, and has changed what is held", b)
			}
			return
		}
		whole := s.append(nil, due)
		again, _, err := parseState(whole)
		if err != nil || !bytes.Equal(again.append(nil, due), whole) {
			t.Fatalf("%x added to %x is no state: %v", b, former, err)
		}
	})
}

// recorded is a connection with what a charger has received.
type recorded struct {
	net.Conn
	in *bytes.Buffer
}

func (r *recorded) Read(b []byte) (int, error) { return r.in.Read(b) }
