package relay

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"holdfast/unixipc"
)

func init() { asserting = true }

// The model test drives a relay through random schedules of everything that
// can happen to it, and holds what processors and chargers see against the
// promises: nothing lost, order kept, one owner at a time, answered once.
//
// Reverted, each of these is found within thirty schedules: that a charger with an
// empty queue is always read (fullFor), that what comes while a connection ends is
// bounded (overfull), that connections which nobody has seen fold (fold), and that a
// link is torn down at the end of the turn only (end).
func TestModel(t *testing.T) {
	schedules := 2000
	if s := os.Getenv("HOLDFAST_SCHEDULES"); s != "" {
		schedules, _ = strconv.Atoi(s)
	}
	var total tally
	for seed := range uint64(schedules) {
		m := newModel(t, seed)
		for range 300 {
			m.step()
		}
		m.finish()
		total.add(m.tally)
		if t.Failed() {
			t.Fatalf("schedule %d failed; the last of its events:\n%s", seed, strings.Join(m.events[max(0, len(m.events)-60):], "\n"))
		}
	}
	t.Logf("%d schedules: %+v", schedules, total)
}

type tally struct {
	Messages, Deliveries, Redeliveries, Replies, Stale, Moves, Deaths, Poisoned, Pauses, Handovers int
	NotTakens, Reconnects, Notes                                                                   int
	Calls, Answers, Lates, Astray, Timeouts, Collisions                                            int
}

func (a *tally) add(b tally) {
	a.Messages += b.Messages
	a.Deliveries += b.Deliveries
	a.Redeliveries += b.Redeliveries
	a.Replies += b.Replies
	a.Stale += b.Stale
	a.Moves += b.Moves
	a.Deaths += b.Deaths
	a.Poisoned += b.Poisoned
	a.Pauses += b.Pauses
	a.Handovers += b.Handovers
	a.NotTakens += b.NotTakens
	a.Reconnects += b.Reconnects
	a.Notes += b.Notes
	a.Calls += b.Calls
	a.Answers += b.Answers
	a.Lates += b.Lates
	a.Astray += b.Astray
	a.Timeouts += b.Timeouts
	a.Collisions += b.Collisions
}

// charger in the model: what it sent and what became of it.
type modelCharger struct {
	c          *Charger
	identity   string
	conn       uint64
	open       bool
	paused     bool
	flooded    bool // it sends though it is paused, and then closes
	sent       int  // serial of the last message
	first      int  // serial of the last message that was delivered for the first time
	acked      map[int]bool
	poisoned   map[int]bool
	expect     []string // replies the charger is to get on its connection, in order
	position   uint64
	note       []byte // left with its connection, the last one if it is not connected
	noteBefore []byte // and with the one before

	taken   map[int]bool                     // answers to calls: they are nobody's delivery
	late    map[int]bool                     // answers that come late
	astray  map[int]bool                     // of those, answers whose asker ended before it had read them
	calls   []*modelCall                     // that it was sent on its connection, and has not answered
	settled map[uint64]map[unixipc.Type]bool // OPENED and CLOSED acknowledged, by connection
	conns   []uint64                         // all, in order
}

// delivery as a processor sees it.
type modelDelivery struct {
	f      unixipc.Frame
	serial int // of a MESSAGE; 0 otherwise
}

type modelLink struct {
	l       *Link
	in      []byte // received, not parsed
	flying  []modelDelivery
	owns    map[string]presence
	dead    bool
	askOnly bool
	window  int // deliveries of one charger at most
	results map[uint64]unixipc.Status
	drained bool
	refused bool
	subs    []string
	drains  bool
	deaf    int  // turns in which it does not read
	behind  bool // it reads now what was written in those
}

type model struct {
	t        *testing.T
	rnd      *rand.Rand
	r        *Relay
	now      time.Time
	chargers []*modelCharger
	links    []*modelLink
	lastConn uint64
	token    uint64
	asked    map[uint64]*modelLink
	calls    map[uint64]*modelCall // by token
	events   []string
	tally
}

var modelConfig = Config{
	Version: "test", Loops: 1, MaxMessage: 4096, QueueMessages: 12, QueueBytes: 4096, BufferBytes: 12000, LinkBacklog: 3000,
	Window: 10, MaxWindow: 100, ChargerWindow: 4, AckTimeout: 10 * time.Second, MaxAttempts: 3,
	CallTimeout: 3 * time.Second, MaxCallTimeout: 8 * time.Second, CallQueue: 4,
}

func newModel(t *testing.T, seed uint64) *model {
	m := &model{t: t, rnd: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1e9, 0), asked: map[uint64]*modelLink{}, calls: map[uint64]*modelCall{}}
	m.r = New(modelConfig, m)
	m.r.SetNow(m.now)
	for i := range 5 {
		m.chargers = append(m.chargers, &modelCharger{
			identity: fmt.Sprint("CP", i), acked: map[int]bool{}, poisoned: map[int]bool{},
			taken: map[int]bool{}, late: map[int]bool{}, astray: map[int]bool{}, settled: map[uint64]map[unixipc.Type]bool{},
		})
	}
	return m
}

func (m *model) event(format string, args ...any) {
	m.events = append(m.events, fmt.Sprintf(format, args...))
}

func (m *model) fail(format string, args ...any) {
	m.t.Helper()
	m.event("FAIL "+format, args...)
	m.t.Errorf(format, args...)
}

// The gateway's side of the relay.

func (m *model) byConn(conn uint64) *modelCharger {
	for _, c := range m.chargers {
		if c.open && c.conn == conn {
			return c
		}
	}
	m.fail("the relay used connection %d, which is not open", conn)
	return &modelCharger{}
}

func (m *model) Send(conn uint64, payload []byte, _ bool) (uint64, unixipc.Status) {
	c := m.byConn(conn)
	if m.rnd.IntN(20) == 0 {
		return 0, unixipc.StatusFull
	}
	if strings.HasPrefix(string(payload), `[2,"call`) {
		m.called(c, string(payload))
		c.position += uint64(len(payload))
		return c.position, unixipc.StatusOK
	}
	if strings.HasPrefix(string(payload), "[4,") {
		return 0, unixipc.StatusOK // of a poisoned message
	}
	if len(c.expect) == 0 || c.expect[0] != string(payload) {
		m.fail("%s was sent %q, wanted %q", c.identity, payload, c.expect)
	} else {
		c.expect = c.expect[1:]
	}
	c.position += uint64(len(payload))
	return c.position, unixipc.StatusOK
}

func (m *model) Close(conn uint64, _ unixipc.CloseBody, _ string) { m.byConn(conn) }
func (m *model) Pause(conn uint64)                                { m.byConn(conn).paused = true; m.Pauses++ }
func (m *model) Resume(conn uint64)                               { m.byConn(conn).paused = false }
func (m *model) LinkReady(*Link)                                  {}
func (m *model) Forward(int, func(*Relay))                        { m.fail("forwarded with one loop") }

func (m *model) Describe(conn uint64) unixipc.OpenedBody {
	return unixipc.OpenedBody{Subprotocol: "any", Remote: fmt.Sprint(conn)}
}

// NotTaken are the last that c has sent: what it had sent before its end was read.
func (m *model) NotTaken(identity string, messages int) {
	c := m.charger(identity)
	m.NotTakens += messages
	if !c.flooded || messages > c.sent {
		m.fail("%d messages of %s were not taken", messages, identity)
	}
	for serial := c.sent; serial > c.sent-messages; serial-- {
		c.taken[serial] = true
	}
	m.event("%s: %d messages not taken", identity, messages)
}

func (m *model) Called(string, unixipc.Status, time.Duration) {}

func (m *model) GivenBackAgain(string, string, int, time.Duration) {}

func (m *model) Poison(identity string, payload []byte, _ int) {
	c := m.charger(identity)
	if n := serialOf(payload); n > 0 {
		c.poisoned[n] = true
		m.event("%s poisoned %d", identity, n)
	} else {
		c.settle(payload)
	}
	m.Poisoned++
}

func serialOf(payload []byte) (n int) {
	if _, err := fmt.Sscanf(string(payload), `[2,"%d"`, &n); err != nil {
		_, rest, _ := strings.Cut(string(payload), ",{") // an answer: [3,"call 7",{12}]
		_, _ = fmt.Sscanf(rest, "%d", &n)
	}
	return n
}

// step does one random thing.
func (m *model) step() {
	c := m.chargers[m.rnd.IntN(len(m.chargers))]
	var l *modelLink
	if len(m.links) > 0 {
		l = m.links[m.rnd.IntN(len(m.links))]
	}
	switch n := m.rnd.IntN(100); {
	case n < 30:
		if c.open && !c.paused {
			m.message(c)
		} else if !c.open {
			m.open(c)
		}
	case n < 32:
		if c.open {
			m.close(c)
		}
	case n < 38:
		m.join()
	case n < 40:
		if l != nil {
			m.kill(l)
		}
	case n < 41 && m.rnd.IntN(2) == 0:
		if l != nil {
			l.deaf = m.rnd.IntN(60)
			m.event("link %d does not read", l.l.id)
		}
	case n < 41 && m.rnd.IntN(2) == 0:
		if l != nil && m.r.Undrain(l.l) {
			m.event("link %d is undrained", l.l.id)
		} else if l != nil {
			m.event("link %d is drained by an operator", l.l.id)
			m.r.Drain(l.l)
		}
	case n < 41:
		if l != nil && !l.drains {
			l.drains = true
			m.event("link %d drains", l.l.id)
			m.order(l, unixipc.Frame{Type: unixipc.Drain})
		}
	case n < 55:
		m.advance(time.Duration(m.rnd.IntN(2000)) * time.Millisecond)
	case n < 60:
		if c.open {
			m.written(c)
		}
	case n < 63:
		if l != nil {
			m.send(l, c)
		}
	case n < 65:
		if l != nil {
			m.stale(l, c)
		}
	case n < 67:
		m.handOver()
	case n < 73:
		if l != nil {
			m.call(l, c)
		}
	case n < 79:
		for _, c := range m.chargers {
			if c.open && !c.paused && len(c.calls) > 0 {
				m.answer(c)
				break
			}
		}
	case l != nil:
		m.work(l)
	}
	m.r.EndTurn()
	m.endLinks()
	m.read()
	m.check()
}

func (m *model) open(c *modelCharger) {
	m.lastConn++
	c.conn, c.open, c.paused, c.expect, c.position = m.lastConn, true, false, nil, 0
	m.event("%s opens", c.identity)
	c.settled[c.conn] = map[unixipc.Type]bool{}
	c.conns = append(c.conns, c.conn)
	subprotocol := []string{"ocpp1.6", "ocpp2.0.1"}[m.rnd.IntN(2)]
	c.noteBefore, c.note = c.note, m.newNote(c.conn)
	c.c = m.r.Opened(c.identity, subprotocol, c.conn, c.note)
}

func (m *model) close(c *modelCharger) {
	if c.paused && m.rnd.IntN(4) == 0 { // what came before its end is handled, however much
		c.flooded = true
		for range m.rnd.IntN(20) {
			m.message(c)
		}
	}
	m.event("%s closes", c.identity)
	c.open = false
	c.calls = nil
	m.r.Closed(c.c, unixipc.ClosedBody{Code: 1000, Reason: fmt.Sprint(c.conn), By: "charger"})
	c.flooded = false
}

func (m *model) message(c *modelCharger) {
	c.sent++
	m.Messages++
	m.event("%s sends %d", c.identity, c.sent)
	pad := strings.Repeat("x", m.rnd.IntN(400))
	m.r.Message(c.c, fmt.Appendf(nil, `[2,"%d","%s"]`, c.sent, pad), 0, c.flooded)
	bound := modelConfig.QueueMessages + 4
	if c.flooded {
		bound += modelConfig.QueueMessages
	}
	if len(c.c.q.entriesOrNil()) > bound {
		m.fail("%s has %d deliveries queued; the bound is %d", c.identity, len(c.c.q.entries), modelConfig.QueueMessages)
	}
}

func (q *queue) entriesOrNil() []entry {
	if q == nil {
		return nil
	}
	return q.entries
}

func (q *queue) callsOrNil() []*call {
	if q == nil {
		return nil
	}
	return q.calls
}

func (m *model) written(c *modelCharger) {
	m.r.Sent(c.c, c.position)
}

func (m *model) join() {
	if len(m.links) == 4 {
		return
	}
	l := &modelLink{owns: map[string]presence{}, results: map[uint64]unixipc.Status{}}
	if m.rnd.IntN(4) == 0 {
		l.subs = []string{"ocpp1.6"}
	}
	l.askOnly = m.rnd.IntN(4) == 0
	hello := unixipc.HelloBody{Name: fmt.Sprint("p", m.rnd.IntN(3)), Window: m.rnd.IntN(20), Subprotocols: l.subs, AskOnly: l.askOnly}
	l.window = modelConfig.ChargerWindow
	if m.rnd.IntN(3) == 0 {
		l.window = 1 + m.rnd.IntN(2)
		hello.ChargerWindow = l.window
	}
	if err := m.r.CheckHello(1, hello); err != nil {
		m.fail("%v", err)
	}
	m.links = append(m.links, l)
	l.l = m.r.Join(hello, false)
	m.event("link %d joins as %s", l.l.id, hello.Name)
}

func (m *model) kill(l *modelLink) {
	m.Deaths++
	m.event("link %d dies", l.l.id)
	m.remove(l)
	m.lost(m.r, l)
}

func (m *model) remove(l *modelLink) {
	l.dead = true
	for i := range m.links {
		if m.links[i] == l {
			m.links = append(m.links[:i:i], m.links[i+1:]...)
			return
		}
	}
}

func (m *model) advance(d time.Duration) {
	m.now = m.now.Add(d)
	m.r.SetNow(m.now)
	if at := m.r.Deadline(); !at.IsZero() && !at.After(m.now) {
		m.r.Tick()
	}
	m.r.EndTurn()
	for _, l := range append([]*modelLink(nil), m.links...) {
		if why, ended := l.l.Ended(); ended {
			m.event("link %d was ended: %s", l.l.id, why)
			m.remove(l)
			m.lost(m.r, l)
		}
	}
}

// order has a processor send a frame, in two pieces.
func (m *model) order(l *modelLink, f unixipc.Frame) {
	b := f.Append(nil)
	cut := m.rnd.IntN(len(b) + 1)
	m.r.Receive(l.l, b[:cut])
	m.r.Receive(l.l, b[cut:])
}

// send orders a message for a charger, whose turn among its replies is known
// only to the relay: it must go out at once.
func (m *model) send(l *modelLink, c *modelCharger) {
	m.token++
	text := fmt.Sprint("order ", m.token)
	if c.open {
		c.expect = append(c.expect, text)
	}
	m.asked[m.token] = l
	m.order(l, unixipc.Frame{Type: unixipc.Send, Ref: m.token, Key: []byte(c.identity), Payload: []byte(text)})
	c.expect = nil // sent, or refused as full
	if !c.open {
		l.deaf = 0
		m.read()
		if _, ended := l.l.Ended(); !ended && l.results[m.token] != unixipc.StatusOffline {
			m.fail("an order for %s, which is offline, got %q", c.identity, l.results[m.token])
		}
	}
}

// stale acknowledges, with a reply, a delivery that is not the link's.
func (m *model) stale(l *modelLink, c *modelCharger) {
	l.deaf = 0
	m.read() // a delivery that l has not read yet is its own all the same
	ref := uint64(m.rnd.IntN(int(1 + c.c.numberOrZero())))
	for _, d := range l.flying {
		if string(d.f.Key) == c.identity && d.f.Ref == ref {
			return
		}
	}
	m.Stale++
	m.order(l, unixipc.Frame{Type: unixipc.Ack, Ref: ref, Key: []byte(c.identity), Payload: []byte("stale")})
	l.results[ref] = ""
	m.read()
	if _, ended := l.l.Ended(); !ended && l.results[ref] != unixipc.StatusRefused {
		m.fail("a reply for delivery %d of %s, not link %d's, got %q", ref, c.identity, l.l.id, l.results[ref])
	}
}

func (c *Charger) numberOrZero() uint64 {
	if c == nil {
		return 0
	}
	return c.number
}

// work acknowledges or gives back one delivery of l.
func (m *model) work(l *modelLink) {
	if len(l.flying) == 0 {
		return
	}
	i := m.rnd.IntN(len(l.flying))
	if m.rnd.IntN(3) > 0 {
		i = 0
	}
	if m.rnd.IntN(10) == 0 {
		d := l.flying[i]
		l.flying = append(l.flying[:i:i], l.flying[i+1:]...)
		c := m.charger(string(d.f.Key))
		wait, _ := json.Marshal(unixipc.NackBody{RetryAfterMS: int64(m.rnd.IntN(3000))})
		m.event("link %d nacks %s %d", l.l.id, c.identity, d.f.Ref)
		l.owns[c.identity] = muddled
		m.order(l, unixipc.Frame{Type: unixipc.Nack, Ref: d.f.Ref, Key: d.f.Key, Payload: wait})
		return
	}
	m.acknowledge(l, i)
}

// acknowledge acknowledges the delivery i of those that l has.
func (m *model) acknowledge(l *modelLink, i int) {
	d := l.flying[i]
	l.flying = append(l.flying[:i:i], l.flying[i+1:]...)
	c := m.charger(string(d.f.Key))
	var reply []byte
	if d.f.Type != unixipc.Message {
		c.settle(d.f.Payload)
	}
	if d.f.Type == unixipc.Opened {
		reply = m.leaveNote(c, d.f.Payload)
	}
	if d.serial > 0 {
		if c.acked[d.serial] {
			m.fail("%s message %d is delivered though acknowledged", c.identity, d.serial)
		}
		c.acked[d.serial] = true
		if m.rnd.IntN(2) == 0 && !c.late[d.serial] {
			reply = fmt.Appendf(nil, "reply %d", d.serial)
			c.expect = []string{string(reply)}
			m.Replies++
		}
	}
	m.event("link %d acks %s %d (message %d)", l.l.id, c.identity, d.f.Ref, d.serial)
	m.order(l, unixipc.Frame{Type: unixipc.Ack, Ref: d.f.Ref, Key: d.f.Key, Payload: reply})
	c.expect = nil
}

func (m *model) charger(identity string) *modelCharger {
	for _, c := range m.chargers {
		if c.identity == identity {
			return c
		}
	}
	m.fail("unknown charger %q", identity)
	return m.chargers[0]
}

// becomeWell ends all faults but one: perhaps no processor takes the chargers of a
// subprotocol, and these send as much as they may. Whoever is served must get on:
// every charger is read, and every message is delivered, within bounded turns.
func (m *model) becomeWell() {
	for _, l := range append([]*modelLink(nil), m.links...) {
		l.deaf = 0
		if m.rnd.IntN(2) == 0 {
			m.r.Undrain(l.l)
		}
		if l.l.retired != notRetired || l.drains || l.askOnly || l.drained {
			m.kill(l)
		}
	}
	takes := func(subprotocol string) bool {
		return slices.ContainsFunc(m.links, func(l *modelLink) bool { return l.subs == nil || slices.Contains(l.subs, subprotocol) })
	}
	served := func(c *modelCharger) bool { // with all that waits before what it says now
		k := m.r.chargers[c.identity]
		return takes(k.subprotocol.Value()) && !slices.ContainsFunc(k.q.entriesOrNil(), func(e entry) bool { return e.sub != "" && !takes(e.sub) })
	}
	goal := map[*modelCharger]int{} // serial of the message that each must come to
	for range 2000 {
		m.read()
		busy := false
		for _, l := range m.links {
			for len(l.flying) > 0 {
				m.acknowledge(l, 0)
				m.read()
			}
		}
		for _, c := range m.chargers {
			switch {
			case !c.open:
			case !served(c):
				if !c.paused {
					m.message(c)
				}
			case goal[c] == 0 && c.paused:
				busy = true
			case goal[c] == 0:
				m.message(c)
				m.message(c) // may come, though the first one paused it
				goal[c] = c.sent
				busy = true
			default:
				busy = busy || !c.paused && !c.acked[c.sent] || !c.acked[goal[c]] || c.paused
			}
		}
		m.check()
		m.advance(50 * time.Millisecond)
		if !busy {
			return
		}
	}
	for _, c := range m.chargers {
		if c.open && served(c) && (c.paused || goal[c] == 0 || !c.acked[goal[c]]) {
			m.fail("%s is stuck though its processor is well: paused %v, message %d of %d acknowledged: %v", c.identity, c.paused, goal[c], c.sent, c.acked[goal[c]])
			if r := m.r.chargers[c.identity]; r != nil {
				m.t.Logf("%v: %s used %v, in line %b, ready %v, owner %+v", r.paused, show(r), m.r.memory.used, r.inLine, r.ready, r.owner)
			}
		}
	}
}

// finish lets everything come to rest and checks that nothing is left.
func (m *model) finish() {
	if !m.t.Failed() {
		m.becomeWell()
	}
	for range 10_000 {
		m.read()
		busy := false
		for _, l := range append([]*modelLink(nil), m.links...) {
			if l.subs != nil || l.drains || l.askOnly || len(m.links) > 1 && m.rnd.IntN(50) == 0 {
				m.kill(l)
				busy = true
				continue
			}
			for len(l.flying) > 0 {
				m.work(l)
				m.read()
				busy = true
			}
		}
		for _, c := range m.chargers {
			if c.open {
				m.close(c)
				busy = true
			}
		}
		m.check()
		if len(m.links) == 0 {
			m.join()
			continue
		}
		if !busy && m.r.Chargers() == 0 {
			break
		}
		m.advance(time.Second)
	}
	if m.r.Chargers() != 0 || m.r.Queued() != 0 {
		m.fail("%d chargers and %d bytes are left at the end", m.r.Chargers(), m.r.Queued())
	}
	for _, c := range m.chargers {
		for serial := 1; serial <= c.sent; serial++ {
			if !c.acked[serial] && !c.poisoned[serial] && !c.taken[serial] {
				m.fail("%s message %d was lost", c.identity, serial)
			}
		}
		for conn, settled := range c.settled {
			if !settled[unixipc.Opened] || !settled[unixipc.Closed] {
				m.fail("%s: of connection %d no processor settled %v", c.identity, conn, settled)
			}
		}
	}
	m.checkCalls()
}
