package relay

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestModelHandover hands the relay over while everything goes on that the
// model knows, as an upgrade does, and holds Changed against what has changed.
func TestModelHandover(t *testing.T) {
	for seed := range uint64(200) {
		m := newModel(t, seed)
		for range 8 {
			for range 20 {
				m.step()
			}
			m.handOverSlowly()
		}
		m.finish()
		if t.Failed() {
			t.Fatalf("schedule %d failed; the last of its events:\n%s", seed, strings.Join(m.events[max(0, len(m.events)-60):], "\n"))
		}
	}
}

// modelExport is a hand-over in the model.
type modelExport struct {
	m         *model
	old, next *Relay
	links     map[*Link]*Link
	chargers  map[*Charger]*modelExported // with a connection
}

type modelExported struct {
	conn  uint64
	state []byte
	at    time.Time
	n     *Charger // in the next relay
}

// handOverSlowly exports everything, goes on for a while, hands over what has
// changed a few times, and then the rest.
func (m *model) handOverSlowly() {
	m.endLinks()
	m.event("slow hand-over begins")
	x := &modelExport{m: m, old: m.r, next: New(modelConfig, m), links: map[*Link]*Link{}, chargers: map[*Charger]*modelExported{}}
	x.old.BeginHandover()
	x.exportLinks()
	for _, c := range x.old.chargers {
		if c.connected {
			x.put(c)
		}
	}
	for range m.rnd.IntN(20) {
		m.step()
		if m.r != x.old {
			return // it was handed over otherwise meanwhile
		}
		x.checkTouched()
		if m.rnd.IntN(6) == 0 {
			m.endLinks()
			x.exportChanges()
		}
	}
	m.endLinks()
	m.event("freeze")
	x.exportChanges()
	x.exportLast()
}

// exportLinks exports those that are new.
func (x *modelExport) exportLinks() {
	x.next.SetNow(x.m.now)
	for _, l := range x.old.Links() {
		if x.links[l] == nil {
			var err error
			if x.links[l], err = x.next.AdoptLink(x.old.AppendLink(nil, l)); err != nil {
				x.m.fail("adopt link: %v", err)
			}
		}
	}
}

func (x *modelExport) put(c *Charger) {
	e := &modelExported{conn: c.conn, state: x.old.AppendCharger(nil, c), at: x.m.now}
	var err error
	if e.n, err = x.next.AdoptCharger(e.state, c.conn); err != nil {
		x.m.fail("adopt %s: %v", c.identity, err)
	}
	x.chargers[c] = e
}

// exportChanges does so in the order of cmd/holdfast: new links, connections
// that went, that changed, that came.
func (x *modelExport) exportChanges() {
	x.exportLinks()
	for c, e := range x.chargers {
		if x.old.chargers[c.identity] != c || !c.connected || c.conn != e.conn {
			x.next.UnadoptCharger(e.n)
			delete(x.chargers, c)
		}
	}
	for _, c := range x.old.TakeChanged() {
		if e := x.chargers[c]; e != nil {
			e.state, e.at = x.old.AppendCharger(nil, c), x.m.now
			if err := x.next.ReadoptCharger(e.n, e.state, c.conn); err != nil {
				x.m.fail("readopt %s: %v", c.identity, err)
			}
		}
	}
	for _, c := range x.old.chargers {
		if c.connected && x.chargers[c] == nil {
			x.put(c)
		}
	}
}

// exportLast ends the hand-over: chargers without a connection, links as they
// are now, links that went.
func (x *modelExport) exportLast() {
	m := x.m
	x.old.Offline(x.put)
	for l, n := range x.links {
		if !slices.Contains(x.old.Links(), l) {
			x.next.UnadoptLink(n)
		} else if err := x.next.ReadoptLink(n, x.old.AppendLink(nil, l)); err != nil {
			m.fail("readopt link: %v", err)
		}
	}
	if len(x.chargers) != len(x.old.chargers) {
		m.fail("%d chargers of %d were handed over", len(x.chargers), len(x.old.chargers))
	}
	for c, e := range x.chargers {
		if a, b := x.old.AppendCharger(nil, c), x.next.AppendCharger(nil, e.n); !sameButTimes(x.old, x.next, a, b) {
			m.fail("%s is another after a hand-over:\n%s\nwas\n%s", c.identity, show(e.n), show(c))
		}
	}
	for _, l := range m.links {
		l.l = x.links[l.l]
	}
	for _, c := range m.chargers {
		if e := x.chargers[c.c]; e != nil {
			c.c = e.n
		}
	}
	m.r = x.next
	m.r.Activate()
	m.check()
}

// endLinks lets go of links that were ended.
func (m *model) endLinks() {
	for _, l := range slices.Clone(m.links) {
		if _, ended := l.l.Ended(); ended {
			m.remove(l)
			m.lost(m.r, l)
		}
	}
}

// checkTouched compares each charger that does not count as changed with what
// was exported of it, at the time of the export: then ages are the same, too.
func (x *modelExport) checkTouched() {
	for c, e := range x.chargers {
		if c.changed || x.old.chargers[c.identity] != c {
			continue
		}
		x.old.SetNow(e.at)
		if state := x.old.AppendCharger(nil, c); !bytes.Equal(state, e.state) {
			was, _ := parsed(x.old, e.state)
			x.m.fail("%s has changed, and does not count as changed:\n%s\nwas\n%s", c.identity, show(c), show(was))
		}
	}
	x.old.SetNow(x.m.now)
}

// sameButTimes compares two states without ages and delays, which began anew
// when they were adopted.
func sameButTimes(old, next *Relay, a, b []byte) bool {
	timeless := func(r *Relay, b []byte) []byte {
		c, err := parsed(r, b)
		if err != nil {
			return nil
		}
		for i := range c.q.entriesOrNil() {
			c.q.entries[i].at = r.now
		}
		if c.q != nil {
			c.q.notBefore = r.now
		}
		return r.AppendCharger(nil, c)
	}
	x := timeless(old, a)
	return x != nil && bytes.Equal(x, timeless(next, b))
}
