package relay

import "bytes"

// handOver replaces the relay by one that has adopted everything, as an
// upgrade does: some of it twice, because it changed in between.
func (m *model) handOver() {
	m.Handovers++
	m.event("hand-over")
	old, next := m.r, New(modelConfig, m)
	next.SetNow(m.now)
	old.BeginHandover()
	adopted := map[*Charger]*Charger{}
	for _, l := range m.links {
		if _, ended := l.l.Ended(); ended {
			m.remove(l)
			m.lost(old, l)
			m.handOver()
			return
		}
	}
	links := map[*modelLink]*Link{}
	for _, l := range m.links {
		n, err := next.AdoptLink(old.AppendLink(nil, l.l))
		if err != nil {
			m.fail("adopt link: %v", err)
			return
		}
		links[l] = n
	}
	for _, c := range old.chargers {
		state := old.AppendCharger(nil, c)
		n, err := next.AdoptCharger(state, c.conn)
		if err != nil {
			m.fail("adopt charger: %v", err)
			return
		}
		if again := next.AppendCharger(nil, n); !bytes.Equal(state, again) {
			m.fail("state of %s is another after a hand-over:\n%x\n%x", c.identity, state, again)
		}
		adopted[c] = n
	}
	// Something happens before the freeze.
	for _, c := range m.chargers {
		if c.open && !c.paused && m.rnd.IntN(3) == 0 {
			m.message(c)
		}
	}
	for _, l := range m.links {
		if err := next.ReadoptLink(links[l], old.AppendLink(nil, l.l)); err != nil {
			m.fail("readopt link: %v", err)
		}
	}
	for _, c := range old.TakeChanged() {
		n := adopted[c]
		if n == nil || old.chargers[c.identity] != c {
			continue
		}
		if err := next.ReadoptCharger(n, old.AppendCharger(nil, c), c.conn); err != nil {
			m.fail("readopt charger: %v", err)
		}
	}
	for _, l := range m.links {
		l.l = links[l]
	}
	for _, c := range m.chargers {
		if n := adopted[c.c]; n != nil {
			c.c = n
		}
	}
	m.r = next
	m.r.Activate()
}
