package conn

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/conn/record"
)

// TestHandover does random things to connections while their loop is replaced
// again and again: sometimes in vain, and sometimes with connections that come
// and go meanwhile. What chargers and the Handler see is what they would see of
// one loop that stays: everything once and in order. And no state ever changes
// without its connection counting as changed.
func TestHandover(t *testing.T) {
	seeds := uint64(8)
	if testing.Short() {
		seeds = 2
	}
	for seed := range seeds {
		w := newHandoverWorld(t, seed)
		for range 5 {
			w.play(40)
			w.handOver()
		}
		w.finish()
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// handoverWorld is a loop that is replaced. It is the Handler of all its loops.
type handoverWorld struct {
	t    *testing.T
	rnd  *rand.Rand // of the test
	loop *Loop
	ran  chan error
	made int
	open []*handoverPeer

	loopRnd  *rand.Rand // of the loops; they run one at a time
	exported map[*Conn]exportedState
	checks   int

	mu sync.Mutex // guards what the peers' books hold
}

// exportedState is what was exported of a connection, but for the time that is
// left to it.
type exportedState struct {
	id    uint32
	state []byte
}

// handoverPeer is a charger, with books about both ends.
type handoverPeer struct {
	*peer
	identity string
	deflate  bool
	far      *farEnd // nil: ws
	unsent   []byte  // frames, or the rest of one
	sealed   []byte  // of these, records that were not sent yet
	messages []string
	pings    []string
	closing  bool // the charger has sent, or will send, a Close frame

	// Guarded by handoverWorld.mu.
	got     []string // by the Handler
	sent    []string // to the charger
	waiting []uint64 // positions that Sent is to tell of
	closed  []Close

	gate  sync.Mutex // held: the charger does not read
	stuck bool
	read  struct {
		data, pongs []string
		done        bool
		err         error // that ended it; nil: a Close frame
	}
}

var handoverConfig = Config{
	MaxMessage: 1 << 20, WriteBuffer: 256 << 10, MemoryLimit: 64 << 20,
	PingInterval: 300 * time.Millisecond, WriteTimeout: time.Minute, CloseTimeout: time.Minute,
}

func newHandoverWorld(t *testing.T, seed uint64) *handoverWorld {
	w := &handoverWorld{t: t, rnd: rand.New(rand.NewPCG(seed, 1)), loopRnd: rand.New(rand.NewPCG(seed, 2))}
	w.run(w.newLoop())
	for range 8 {
		w.connect()
	}
	return w
}

func (w *handoverWorld) newLoop() *Loop {
	l, err := NewLoop(handoverConfig, w)
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

func (w *handoverWorld) run(l *Loop) {
	w.loop, w.ran, w.exported = l, make(chan error, 1), map[*Conn]exportedState{}
	go func() { w.ran <- l.Run() }()
}

// do runs f on the loop, amid a turn.
func (w *handoverWorld) do(f func()) {
	w.t.Helper()
	done := make(chan struct{})
	w.loop.Post(func() { defer close(done); f() })
	select {
	case <-done:
	case <-time.After(patience):
		w.t.Fatal("the loop does not turn")
	}
}

// The Handler.

func (w *handoverWorld) Message(c *Conn, payload []byte, _ Kind) {
	p := c.User.(*handoverPeer)
	w.mu.Lock()
	p.got = append(p.got, string(payload))
	w.mu.Unlock()
	if w.loopRnd.IntN(3) == 0 {
		w.send(c, append([]byte("echo "), payload[:min(len(payload), 900)]...))
	}
	if w.loopRnd.IntN(6) == 0 {
		c.Pause()
	}
}

func (w *handoverWorld) send(c *Conn, payload []byte) {
	position, err := c.Send(payload, true)
	if err != nil {
		return
	}
	p := c.User.(*handoverPeer)
	w.mu.Lock()
	defer w.mu.Unlock()
	p.sent = append(p.sent, string(payload))
	if n := len(p.waiting); n > 0 && p.waiting[n-1] >= position {
		w.t.Errorf("%s: position %d after %d", p.identity, position, p.waiting[n-1])
	}
	p.waiting = append(p.waiting, position)
}

func (w *handoverWorld) Sent(c *Conn, position uint64) {
	p := c.User.(*handoverPeer)
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(p.waiting) > 0 && p.waiting[0] <= position {
		p.waiting = p.waiting[1:]
	}
}

func (w *handoverWorld) Closed(c *Conn, why Close) {
	p := c.User.(*handoverPeer)
	w.mu.Lock()
	defer w.mu.Unlock()
	if p.closed = append(p.closed, why); len(p.closed) > 1 {
		w.t.Errorf("%s: closed twice: %+v", p.identity, p.closed)
	}
	p.waiting = nil
}

func (w *handoverWorld) Alarm(time.Time) {}

// EndTurn holds every connection that does not count as changed against what
// was exported of it.
func (w *handoverWorld) BeginTurn(time.Time) {}

func (w *handoverWorld) EndTurn() {
	for c, e := range w.exported {
		if c.loop == nil || c.phase == phaseGone || c.exported != e.id || c.changed {
			continue
		}
		w.checks++
		if state := c.State.append(nil, 0); !bytes.Equal(state, e.state) {
			w.t.Errorf("%s has changed, and does not count as changed:\n%x\nwas\n%x", c.Identity, state, e.state)
			delete(w.exported, c)
		}
	}
}

// What happens.

func (w *handoverWorld) connect() {
	w.made++
	client, server := tcpPair(w.t)
	_ = client.SetReadBuffer(4 << 10)
	_ = server.SetWriteBuffer(4 << 10)
	fd, err := Take(server)
	if err != nil {
		w.t.Fatal(err)
	}
	p := &handoverPeer{identity: fmt.Sprint("CP-", w.made), deflate: w.rnd.IntN(2) == 0}
	p.peer = &peer{TCPConn: client, br: bufio.NewReader(client)}
	s := State{Identity: p.identity, Subprotocol: MakeName("ocpp1.6"), Remote: MakeRemote(netip.MustParseAddrPort("192.0.2.1:1"))}
	if p.deflate {
		s.DeflateBits = 15
	}
	if n := w.rnd.IntN(2 * len(tlsSuites)); n < len(tlsSuites) {
		p.far = newFarEnd(w.t, client, n, uint64(w.made))
		p.br.Reset(p.far)
		s.TLS = layerOf(w.t, n, uint64(w.made), false)
	}
	p.more(w.rnd)
	early := p.unsent[:w.rnd.IntN(len(p.unsent))]
	p.unsent = p.unsent[len(early):]
	w.do(func() {
		c, err := w.loop.Add(fd, s, p, early)
		if err != nil {
			w.t.Error(err)
			return
		}
		p.handle = c.Handle()
	})
	w.open = append(w.open, p)
	go p.listen(w)
}

// conn runs f with p's connection, unless it is gone.
func (w *handoverWorld) with(p *handoverPeer, f func(c *Conn)) {
	w.do(func() {
		if c := w.loop.Lookup(p.handle); c != nil {
			f(c)
		}
	})
}

// more has the charger think of some frames to send.
func (p *handoverPeer) more(rnd *rand.Rand) {
	text := fmt.Sprintf("%s 日本 %d ", p.identity, len(p.messages))
	for range rnd.IntN(6) {
		text += "😀 and a lot of words, "
	}
	p.messages = append(p.messages, text)
	b, rsv := []byte(text), byte(0)
	if p.deflate && rnd.IntN(2) == 0 {
		var d deflater
		if z := d.compress(b); z != nil {
			b, rsv = bytes.Clone(z), rsv1Bit
		}
	}
	if rnd.IntN(3) == 0 {
		p.unsent = append(p.unsent, stream(clientFrame{op: opText, rsv: rsv, payload: b})...)
		return
	}
	i, j := rnd.IntN(len(b)+1), rnd.IntN(len(b)+1)
	i, j = min(i, j), max(i, j)
	ping := fmt.Sprint("ping ", len(p.pings))
	p.pings = append(p.pings, ping)
	p.unsent = append(p.unsent, stream(clientFrame{op: opText, rsv: rsv, more: true, payload: b[:i]}, clientFrame{op: opPing, payload: []byte(ping)},
		clientFrame{more: true, payload: b[i:j]}, clientFrame{op: opPong, payload: []byte("!")}, clientFrame{payload: b[j:]})...)
}

// play does n random things.
func (w *handoverWorld) play(n int) {
	for range n {
		p := w.open[w.rnd.IntN(len(w.open))]
		switch n := w.rnd.IntN(100); {
		case n < 50:
			if len(p.unsent) < 200 && !p.closing {
				p.more(w.rnd)
			}
			k := min(len(p.unsent), 1+w.rnd.IntN(120))
			p.transmit(p.unsent[:k], w.rnd.IntN(100))
			p.unsent = p.unsent[k:]
		case n < 62:
			size := []int{0, 10, 1000, 40_000}[w.rnd.IntN(4)]
			payload := make([]byte, size+8)
			binary.BigEndian.PutUint64(payload, w.rnd.Uint64())
			w.with(p, func(c *Conn) {
				if c.phase == phaseOpen {
					w.send(c, payload)
				}
			})
		case n < 72:
			p.stick(!p.stuck)
		case n < 88:
			w.with(p, func(c *Conn) { c.Resume() })
		case n < 92:
			w.with(p, func(c *Conn) {
				if c.phase <= phaseClosing {
					c.Pause()
				}
			})
		case n < 94:
			w.with(p, func(c *Conn) { c.Close(Close{Code: CodeGoingAway, Reason: "enough", By: ByOperator}) })
		case n < 95:
			w.with(p, func(c *Conn) { c.Drop(Close{Code: CodePolicy, Reason: "out", By: ByGateway}) })
		case n < 96:
			if !p.closing {
				p.closing = true
				p.unsent = append(p.unsent, stream(clientFrame{op: opClose, payload: closePayload(CodeNormal, "bye")})...)
			}
		default:
			w.connect()
		}
	}
}

// transmit sends b, over TLS but for so many bytes. It fails once the connection
// has ended.
func (p *handoverPeer) transmit(b []byte, behind int) {
	if p.far == nil {
		_, _ = p.Write(b)
		return
	}
	if behind%5 == 0 && p.far.out.Version() == tls.VersionTLS13 {
		p.sealed = p.far.out.AppendKeyUpdate(p.sealed)
	}
	p.sealed = p.far.out.Seal(p.sealed, b)
	n := max(0, len(p.sealed)-behind)
	_, _ = p.Write(p.sealed[:n])
	p.sealed = p.sealed[n:]
}

// stick has the charger stop reading, or go on.
func (p *handoverPeer) stick(stuck bool) {
	if stuck == p.stuck {
		return
	}
	if p.stuck = stuck; stuck {
		p.gate.Lock()
	} else {
		p.gate.Unlock()
	}
}

func (p *handoverPeer) mayRead() {
	p.gate.Lock()
	defer p.gate.Unlock()
}

// listen is the charger's reading.
func (p *handoverPeer) listen(w *handoverWorld) {
	var d deflater
	for {
		p.mayRead()
		op, compressed, b, err := p.frame()
		if err == nil && op == opClose {
			// play or finish answers, behind the frame it is in
			if rest, err := p.br.ReadByte(); err == nil {
				w.t.Errorf("%s: %x behind the close", p.identity, rest)
			} else if p.far != nil && err != io.EOF {
				w.t.Errorf("%s: %v behind the close; want close_notify", p.identity, err)
			}
		}
		if violation := (*record.ViolationError)(nil); errors.As(err, &violation) {
			w.t.Errorf("%s: %v", p.identity, err)
		}
		w.mu.Lock()
		switch {
		case err != nil:
			p.read.done, p.read.err = true, err
		case op == opPong:
			p.read.pongs = append(p.read.pongs, string(b))
		case op == opBinary:
			if compressed {
				b, _ = d.inflate(b, 1<<20, false)
			}
			p.read.data = append(p.read.data, string(b))
		case op == opClose:
			p.read.done = true
		case op != opPing:
			w.t.Errorf("%s got a frame of opcode %x", p.identity, op)
		}
		done := p.read.done
		w.mu.Unlock()
		if done {
			p.Close()
			return
		}
	}
}

// handOver replaces the loop, or gives up at some point.
func (w *handoverWorld) handOver() {
	next := w.newLoop()
	staged, users := map[uint32]*Conn{}, map[uint32]any{}
	var ids atomic.Uint32
	give := func(out []Exported, gone []uint32) {
		for _, id := range gone {
			staged[id].Unstage()
			delete(staged, id)
		}
		for _, again := range []bool{true, false} {
			for _, e := range out {
				switch {
				case e.Again != again:
				case again:
					if err := staged[e.ID].Readopt(e.State); err != nil {
						w.t.Error(err)
					}
					w.compare(e, staged[e.ID])
				default:
					c, err := next.Adopt(e.FD, e.State, users[e.ID])
					if err != nil {
						w.t.Fatal(err)
					}
					staged[e.ID] = c
					w.compare(e, c)
				}
			}
		}
	}
	// collect takes what was exported, with duplicates of the fds.
	collect := func(out []Exported) []Exported {
		for i, e := range out {
			w.exported[e.Conn] = exportedState{e.ID, e.Conn.State.append(nil, 0)}
			if !e.Again {
				users[e.ID] = e.Conn.User
				fd, err := unix.FcntlInt(uintptr(e.FD), unix.F_DUPFD_CLOEXEC, 3)
				if err != nil {
					w.t.Fatal(err)
				}
				out[i].FD = fd
			}
		}
		return out
	}
	w.do(func() { w.loop.BeginHandover(w.rnd.IntN(4) > 0) })
	for more := true; more; {
		var out []Exported
		w.do(func() {
			if w.rnd.IntN(2) == 0 { // something happens in the very turn
				w.loop.All(func(c *Conn) { w.send(c, []byte("in the turn of the export")) })
			}
			out, more = w.loop.Export(nil, 3, &ids)
			out = collect(out)
		})
		give(out, nil)
		w.play(w.rnd.IntN(10))
	}
	for range w.rnd.IntN(3) {
		w.play(w.rnd.IntN(20))
		var out []Exported
		var gone []uint32
		w.do(func() {
			out, gone = w.loop.ExportChanged(nil, &ids)
			out = collect(out)
		})
		give(out, gone)
	}
	w.play(w.rnd.IntN(20))

	parked, thaw := make(chan struct{}), make(chan bool)
	loop := w.loop
	w.do(func() {
		loop.Between(func() {
			close(parked)
			if !<-thaw {
				loop.Stop()
			}
		})
	})
	<-parked
	// What was posted too late to be run is run on the loop's behalf.
	late := w.open[w.rnd.IntN(len(w.open))]
	loop.Post(func() {
		if c := loop.Lookup(late.handle); c != nil && c.phase == phaseOpen {
			w.send(c, []byte("posted at the freeze"))
		}
	})
	loop.RunPosted()
	out, gone := loop.ExportChanged(nil, &ids)
	give(collect(out), gone)
	if w.rnd.IntN(4) == 0 {
		for _, c := range staged {
			c.Unstage()
		}
		if next.memory != 0 || next.Len() != 0 {
			w.t.Errorf("%d bytes and %d connections are left after a roll-back", next.memory, next.Len())
		}
		_ = next.Close()
		loop.EndHandover()
		w.exported = map[*Conn]exportedState{}
		thaw <- true
		return
	}
	if loop.Len()-len(loop.gone) != len(staged) {
		w.t.Errorf("%d connections were handed over; there are %d", len(staged), loop.Len())
	}
	thaw <- false
	if err := <-w.ran; err != nil {
		w.t.Error(err)
	}
	for slot := range loop.table.used {
		if c := loop.table.at(slot); c.loop != nil && c.phase != phaseGone {
			_ = unix.Close(int(c.fd))
		}
	}
	_ = loop.Close()
	for _, c := range staged {
		c.User.(*handoverPeer).handle = c.Handle()
	}
	for _, p := range w.open {
		if !slices.ContainsFunc(mapValues(staged), func(c *Conn) bool { return c.User == any(p) }) {
			p.handle = 1 << 63 // gone
		}
	}
	w.run(next)
}

// compare holds what was staged against what was exported: with additions, the
// whole must come of the parts.
func (w *handoverWorld) compare(e Exported, staged *Conn) {
	if got, want := staged.State.append(nil, 0), w.exported[e.Conn].state; !bytes.Equal(got, want) {
		w.t.Errorf("%s was staged as\n%x, is\n%x", staged.Identity, got, want)
	}
}

func mapValues(m map[uint32]*Conn) (all []*Conn) {
	for _, c := range m {
		all = append(all, c)
	}
	return all
}

// finish lets everything come to its end, and closes the books.
func (w *handoverWorld) finish() {
	for _, p := range w.open {
		p.stick(false)
		if !p.closing {
			p.unsent = append(p.unsent, stream(clientFrame{op: opClose, payload: closePayload(CodeNormal, "bye")})...)
		}
		p.transmit(p.unsent, 0)
	}
	deadline := time.Now().Add(patience)
	for done := false; !done; {
		w.do(func() {
			w.loop.All(func(c *Conn) { c.Resume() })
			done = w.loop.Len() == 0
		})
		w.mu.Lock()
		for _, p := range w.open {
			done = done && p.read.done
		}
		w.mu.Unlock()
		if time.Now().After(deadline) {
			w.do(func() {
				w.loop.All(func(c *Conn) { w.t.Errorf("left: %s phase %d pause %d out %v", c.Identity, c.phase, c.pause, c.out) })
			})
			break
		}
		time.Sleep(time.Millisecond)
	}
	w.do(w.loop.Stop)
	<-w.ran
	_ = w.loop.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.checks == 0 {
		w.t.Error("no connection was ever checked for changes")
	}
	for _, p := range w.open {
		if len(p.closed) != 1 {
			w.t.Errorf("%s was closed %d times", p.identity, len(p.closed))
			continue
		}
		if len(p.got) > len(p.messages) || !slices.Equal(p.got, p.messages[:len(p.got)]) {
			w.t.Errorf("%s: lost, doubled, or out of order: got %.300q of %.300q", p.identity, p.got, p.messages)
		}
		if p.closed[0].By == ByCharger && len(p.got) != len(p.messages) {
			w.t.Errorf("%s: %d messages of %d came", p.identity, len(p.got), len(p.messages))
		}
		if !slices.Equal(p.read.data, p.sent) {
			w.t.Errorf("%s (%+v): the charger read %d of %d messages (%v), or others: %.500q of %.500q", p.identity, p.closed, len(p.read.data), len(p.sent), p.read.err, p.read.data, p.sent)
		}
		if n := len(p.read.pongs); n > len(p.pings) || !slices.Equal(p.read.pongs, p.pings[:n]) {
			w.t.Errorf("%s: pongs %q of %q", p.identity, p.read.pongs, p.pings)
		}
	}
}
