package relay

import (
	"encoding/json"
	"slices"

	"holdfast/unixipc"
)

// read has the processors read what the relay wrote, in random pieces, and
// checks each frame against the promises.
func (m *model) read() {
	for _, l := range m.links {
		if l.deaf > 0 {
			l.deaf--
			l.behind = true
			continue
		}
		for {
			b := l.l.Unwritten()
			if len(b) == 0 {
				break
			}
			n := 1 + m.rnd.IntN(len(b))
			l.in = append(l.in, b[:n]...)
			m.r.Wrote(l.l, n)
		}
		for {
			f, n, err := unixipc.Parse(l.in, 1<<20)
			if err != nil {
				m.fail("link %d: %v", l.l.id, err)
				return
			}
			if n == 0 {
				break
			}
			l.in = l.in[n:]
			m.frame(l, f)
		}
		l.behind = false
	}
}

func (m *model) frame(l *modelLink, f unixipc.Frame) {
	switch f.Type {
	case unixipc.Welcome:
	case unixipc.Drained:
		l.drained = true
		if len(l.flying) > 0 {
			m.fail("link %d is told DRAINED with %d deliveries in flight", l.l.id, len(l.flying))
		}
	case unixipc.Refused:
		l.refused = true
	case unixipc.Result:
		if k := m.calls[f.Ref]; k != nil && f.Flags&unixipc.ForDelivery == 0 {
			m.result(l, k, f)
			return
		}
		var body unixipc.ResultBody
		_ = json.Unmarshal(f.Payload, &body)
		l.results[f.Ref] = body.Status
	case unixipc.Moved:
		for _, d := range l.flying {
			if string(d.f.Key) == string(f.Key) {
				m.fail("link %d is told that %s is another's, and has %d of it in flight", l.l.id, f.Key, d.f.Ref)
			}
		}
		delete(l.owns, string(f.Key))
	case unixipc.Opened, unixipc.Message, unixipc.Closed:
		m.delivered(l, f)
	default:
		m.fail("link %d got %v", l.l.id, f.Type)
	}
}

func (m *model) delivered(l *modelLink, f unixipc.Frame) {
	c := m.charger(string(f.Key))
	d := modelDelivery{f: f}
	again := f.Flags&unixipc.Redelivered != 0
	m.Deliveries++
	if again {
		m.Redeliveries++
	}
	if l.askOnly {
		m.fail("link %d only asks, and got a delivery", l.l.id)
	}
	if l.drained {
		m.fail("link %d got a delivery after DRAINED", l.l.id)
	}
	flying := 1
	for _, other := range m.links {
		for _, o := range other.flying {
			if string(o.f.Key) != c.identity {
				continue
			}
			if flying++; flying > l.window {
				m.fail("link %d has %d deliveries of %s, more than its window of %d", l.l.id, flying, c.identity, l.window)
			}
			if other != l {
				m.fail("%s is delivered to link %d while link %d has it in flight", c.identity, l.l.id, other.l.id)
			}
			if o.f.Ref >= f.Ref {
				m.fail("%s delivery %d comes after %d", c.identity, f.Ref, o.f.Ref)
			}
		}
	}
	switch f.Type {
	case unixipc.Opened:
		var body unixipc.OpenedBody
		_ = json.Unmarshal(f.Payload, &body)
		if !again {
			m.Reconnects += body.Reconnects
		}
		if !l.behind {
			m.checkNote(c, body)
		}
		if body.Moved {
			m.Moves++
			for _, other := range m.links {
				if other != l {
					delete(other.owns, c.identity)
				}
			}
		}
		if !body.Moved && !again && l.owns[c.identity] == present {
			m.fail("link %d is told OPENED of %s twice", l.l.id, c.identity)
		}
		if was := l.owns[c.identity]; was != muddled {
			l.owns[c.identity] = present
		}
	case unixipc.Message:
		if was := l.owns[c.identity]; was == absent && !again || was == unknown {
			m.fail("link %d got a message of %s, which is %d to it", l.l.id, c.identity, l.owns[c.identity])
		}
		d.serial = serialOf(f.Payload)
		next := c.first + 1
		for c.taken[next] || c.astray[next] {
			next++
		}
		if d.serial != next && !again && !c.astray[d.serial] {
			m.fail("%s message %d comes for the first time after %d", c.identity, d.serial, c.first)
		}
		if late := f.Flags&unixipc.Late != 0; late != c.late[d.serial] {
			m.fail("%s message %d is marked late: %v", c.identity, d.serial, late)
		}
		c.first = max(c.first, d.serial)
		if c.acked[d.serial] {
			m.fail("%s message %d is delivered though acknowledged", c.identity, d.serial)
		}
	case unixipc.Closed:
		if l.owns[c.identity] == unknown || l.owns[c.identity] == absent && !again {
			m.fail("link %d got CLOSED of %s, which is %d to it", l.l.id, c.identity, l.owns[c.identity])
		}
		if l.owns[c.identity] != muddled {
			l.owns[c.identity] = absent
		}
	}
	m.event("link %d gets %v %s %d (message %d, again %v)", l.l.id, f.Type, c.identity, f.Ref, d.serial, again)
	l.flying = append(l.flying, d)
}

// check holds the relay's own books against each other.
func (m *model) check() {
	bytes := 0
	used := [pools]int{}
	online, calls := 0, 0
	inFlight := map[*Link]int{}
	owned := map[*Link]int{}
	for _, c := range m.r.chargers {
		n := 0
		if c.connected {
			online++
		}
		for i := range c.q.entriesOrNil() {
			e := &c.q.entries[i]
			bytes += e.size + entryCost
			used[c.pool] += e.size + entryCost
			if e.number != 0 {
				n++
			}
		}
		if c.q != nil {
			bytes += len(c.q.last)
			used[c.pool] += len(c.q.last)
		}
		for i, k := range c.q.callsOrNil() {
			bytes += len(k.message)
			used[moving] += len(k.message)
			calls++
			if k.sent() != (i == 0) || k.charger != c || m.r.deadlines[k.place] != k {
				m.fail("%s: call %q at %d, sent %v", c.identity, k.id, i, k.sent())
			}
		}
		if n != int(c.inFlight) {
			m.fail("%s counts %d in flight; there are %d", c.identity, c.inFlight, n)
		}
		if c.owner == nil && n > 0 {
			m.fail("%s has no owner but %d in flight", c.identity, n)
		}
		inFlight[c.owner] += n
		owned[c.owner]++
	}
	if online != m.r.online {
		m.fail("%d chargers are counted as connected; there are %d", m.r.online, online)
	}
	if calls != len(m.r.deadlines) {
		m.fail("%d calls have a deadline; there are %d", len(m.r.deadlines), calls)
	}
	if bytes != m.r.Queued() || used != m.r.memory.used {
		m.fail("%d bytes are accounted for; there are %d", m.r.memory.used, used)
	}
	m.checkPauses()
	for _, l := range m.r.links {
		walked := 0
		for i := range m.r.slots.used {
			if c := m.r.slots.at(i); c.identity != "" && c.owner == l {
				walked++
			}
		}
		for _, c := range m.r.chargers {
			if c.owner == l && c.inFlight > 0 && (!c.flying || !slices.Contains(l.flying, c)) {
				m.fail("%s has something in flight, and is not where that is noted", c.identity)
			}
		}
		if l.inFlight != inFlight[l] || l.chargers != owned[l] || walked != owned[l] {
			m.fail("link %d counts %d in flight and %d chargers; there are %d and %d", l.id, l.inFlight, l.chargers, inFlight[l], owned[l])
		}
		if l.inFlight > l.window {
			m.fail("link %d has %d in flight; its window is %d", l.id, l.inFlight, l.window)
		}
	}
}

// checkPauses holds that whoever is paused has a reason that can end, and waits
// in one place for it.
func (m *model) checkPauses() {
	inLine := map[*Charger]uint8{}
	for p := range pools {
		for _, c := range m.r.memory.line[p] {
			if inLine[c]&(1<<p) != 0 {
				m.fail("%s stands in line twice", c.identity)
			}
			inLine[c] |= 1 << p
		}
	}
	for _, mc := range m.chargers {
		if c := m.r.chargers[mc.identity]; c != nil && mc.open && (c.paused != reading) != mc.paused {
			m.fail("%s is paused: %v, and to the relay %v", c.identity, mc.paused, c.paused != reading)
		}
	}
	for _, c := range m.r.chargers {
		entries := c.q.entriesOrNil()
		for i := range max(0, len(entries)-2) {
			if unseenAlone(entries[i:]) {
				m.fail("%s has a connection queued that nobody has seen and that brought nothing, before another", c.identity)
			}
		}
		if c.pool != c.poolNow() {
			m.fail("%s is charged to pool %d", c.identity, c.pool)
		}
		if c.inLine != inLine[c] {
			m.fail("%s stands in line: %b, and counts %b", c.identity, inLine[c], c.inLine)
		}
		switch {
		case c.paused == reading:
		case !c.connected:
			m.fail("%s is paused, and not connected", c.identity)
		case c.paused == pausedByQueue:
			if len(c.q.entriesOrNil()) <= m.r.cfg.QueueMessages/2 && len(c.q.buf) <= m.r.cfg.QueueBytes/2 {
				m.fail("%s is paused by its own queue of %d", c.identity, len(c.q.entriesOrNil()))
			}
		case c.paused != c.pool.reason() || c.inLine&(1<<c.pool) == 0:
			m.fail("%s waits for room in another pool, or not in line", c.identity)
		case len(c.q.entriesOrNil()) == 0:
			m.fail("%s is paused with an empty queue", c.identity)
		case m.r.hasRoom(c.pool) && !m.r.canWake():
			m.fail("%s waits though there is room", c.identity)
		}
	}
}

// unseenAlone reports whether entries begin with a connection that should have been
// folded into the next one.
func unseenAlone(entries []entry) bool {
	o, c, next := &entries[0], &entries[1], &entries[2]
	return o.kind == unixipc.Opened && !o.moved && o.unseen() && c.kind == unixipc.Closed && c.unseen() && next.kind == unixipc.Opened && !next.moved
}
