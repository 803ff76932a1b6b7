package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"holdfast/cmd/holdfast/credentials"
	"holdfast/cmd/holdfast/metrics"
	"holdfast/conn"
	"holdfast/relay"
	"holdfast/unixipc"
	"holdfast/unixipc/handoff"

	"golang.org/x/sys/unix"
)

// takeover stages what the old process hands over: in the worlds, whose loops
// do not run yet. It implements handoff.Stager.
type takeover struct {
	worlds   []*world
	staged   map[uint64]*staged
	chargers map[*relay.Charger]*staged // with a connection
	unfit    map[*staged]bool           // see check
	frozen   time.Time
	door     *door
	tickets  []credentials.TicketKey
	counters []byte // see gateway.inherit
	tally    *metrics.Counters
}

// staged is one item.
type staged struct {
	world   *world
	kind    itemKind
	conn    *conn.Conn
	charger *relay.Charger
	link    *link
}

func newTakeover(worlds []*world, n *metrics.Counters) *takeover {
	return &takeover{worlds: worlds, tally: n, staged: map[uint64]*staged{}, chargers: map[*relay.Charger]*staged{}, unfit: map[*staged]bool{}}
}

// Put implements handoff.Stager.
func (t *takeover) Put(it handoff.Item) (err error) {
	defer func() {
		if err != nil && it.FD >= 0 {
			_ = unix.Close(it.FD)
		}
	}()
	kind, loop, first, second, err := parseItem(it.State)
	if err != nil {
		return err
	}
	if loop >= len(t.worlds) {
		return fmt.Errorf("item of loop %d; there are %d", loop, len(t.worlds))
	}
	if (it.FD >= 0) != (kind == itemLink || kind == itemCharger) {
		return fmt.Errorf("item of kind %q, file descriptor %d", byte(kind), it.FD)
	}
	s := &staged{world: t.worlds[loop], kind: kind}
	t.staged[it.ID] = s
	switch kind {
	case itemFrozen:
		if len(first) != 8 {
			return errors.New("time of the freeze is malformed")
		}
		t.frozen = time.Unix(0, int64(binary.BigEndian.Uint64(first)))
		t.counters = append([]byte(nil), second...)
		return nil
	case itemTickets:
		t.tickets, err = credentials.ParseTickets(first)
		return err
	case itemLink:
		return s.adoptLink(it.FD, first)
	case itemOffline:
		if s.charger, err = s.world.relay.AdoptCharger(second, 0); err != nil {
			return err
		}
		if _, connected := s.charger.Conn(); connected {
			return fmt.Errorf("charger %q is connected, but without a connection", s.charger.Identity())
		}
		return nil
	case itemCharger:
		s.world.relay.SetNow(time.Now())
		if s.conn, err = s.world.loop.Adopt(it.FD, first, nil); err != nil {
			return err
		}
		it.FD = -1 // the loop's
		if err = t.adoptCharger(s, second); err != nil {
			s.conn.Unstage()
			return err
		}
		t.check(s)
		return nil
	}
	if kind&itemOptional != 0 {
		return nil
	}
	return fmt.Errorf("item of unknown kind %q", byte(kind))
}

func (s *staged) adoptLink(fd int, state []byte) (err error) {
	w := s.world
	l := &link{world: w}
	if l.relay, err = w.relay.AdoptLink(state); err != nil {
		return err
	}
	if l.source, err = w.loop.Watch(fd, l.ready); err != nil {
		w.relay.UnadoptLink(l.relay)
		return err
	}
	s.link = l
	w.links[l.relay] = l
	return nil
}

// adoptCharger gives s the charger that state tells of; none if it is empty.
func (t *takeover) adoptCharger(s *staged, state []byte) (err error) {
	if len(state) == 0 {
		return nil
	}
	// The charger may have reconnected during the pre-copy: then it is
	// staged with its former connection, too.
	if c := s.world.relay.Charger(s.conn.Identity); c != nil {
		t.release(t.chargers[c])
	}
	if s.charger, err = s.world.relay.AdoptCharger(state, s.conn.Handle()); err != nil {
		return err
	}
	if s.charger.Identity() != s.conn.Identity {
		return fmt.Errorf("connection of %q with the charger %q", s.conn.Identity, s.charger.Identity())
	}
	if _, connected := s.charger.Conn(); !connected {
		return fmt.Errorf("charger %q has a connection, but is not connected", s.conn.Identity)
	}
	s.conn.User = s.charger
	t.chargers[s.charger] = s
	s.world.counters.Kind(s.conn).Held++
	return nil
}

// release takes the charger from s.
func (t *takeover) release(s *staged) {
	if s == nil || s.charger == nil {
		return
	}
	delete(t.chargers, s.charger)
	s.world.counters.Kind(s.conn).Held--
	s.world.relay.UnadoptCharger(s.charger)
	s.charger = nil
	s.conn.User = nil
	t.check(s)
}

// Update implements handoff.Stager.
func (t *takeover) Update(id uint64, state []byte) error {
	s := t.staged[id]
	kind, _, first, second, err := parseItem(state)
	switch {
	case err != nil:
		return err
	case kind != s.kind:
		return fmt.Errorf("item of kind %q became %q", byte(s.kind), byte(kind))
	case kind == itemLink:
		return s.world.relay.ReadoptLink(s.link.relay, first)
	case kind != itemCharger:
		return fmt.Errorf("item of kind %q cannot be updated", byte(kind))
	}
	s.world.relay.SetNow(time.Now())
	if err := s.conn.Readopt(first); err != nil {
		return err
	}
	t.release(s)
	defer t.check(s)
	return t.adoptCharger(s, second)
}

// Drop implements handoff.Stager.
func (t *takeover) Drop(id uint64) error {
	s := t.staged[id]
	delete(t.staged, id)
	switch s.kind {
	case itemLink:
		s.world.relay.UnadoptLink(s.link.relay)
		delete(s.world.links, s.link.relay)
		s.link.source.Release()
	case itemCharger:
		t.release(s)
		delete(t.unfit, s)
		s.conn.Unstage()
	default:
		return fmt.Errorf("item of kind %q cannot be dropped", byte(s.kind))
	}
	return nil
}

// check keeps account of the items that cannot stay as they are: a connection
// that is not only being ended has its charger, one that is has none.
func (t *takeover) check(s *staged) {
	if s.conn != nil && s.conn.Draining() == (s.charger != nil) {
		t.unfit[s] = true
	} else {
		delete(t.unfit, s)
	}
}

// Verify implements handoff.Stager. It takes no longer the more there are.
func (t *takeover) Verify() error {
	for s := range t.unfit {
		return fmt.Errorf("connection of %q and its charger do not fit (and %d others)", s.conn.Identity, len(t.unfit)-1)
	}
	return nil
}

// activate makes everything the worlds' own. Their loops are started next.
func (t *takeover) activate() (connections, links int) {
	for _, w := range t.worlds {
		links += len(w.links)
		w.loop.Post(func() {
			w.relay.SetNow(w.loop.Now())
			w.relay.Activate()
		})
	}
	if c := t.door.certificates; c != nil && t.tickets != nil {
		c.Tickets.Adopt(t.tickets)
	}
	t.worlds[0].held.Store(int64(len(t.chargers)))
	t.worlds[0].joined.Store(int64(links))
	return len(t.chargers), links
}

// late takes over what the old process finished after the freeze.
func (t *takeover) late(it handoff.Item) {
	kind, loop, first, second, err := parseItem(it.State)
	if err == nil && (loop >= len(t.worlds) || it.FD < 0) {
		err = fmt.Errorf("late item of loop %d, file descriptor %d", loop, it.FD)
	}
	if err != nil {
		t.lost(it, err)
		return
	}
	w := t.worlds[loop]
	switch kind {
	case itemLateOpen:
		s, early, err := conn.ParseState(first)
		if err != nil {
			t.lost(it, err)
			return
		}
		t.tally.Handshake("opened", http.StatusSwitchingProtocols, 0)
		w.held.Add(1)
		w.loop.Post(func() { w.open(it.FD, s, early) })
	case itemLateJoin:
		var h lateHello
		if err := json.Unmarshal(first, &h); err != nil {
			t.lost(it, err)
			return
		}
		rest := append([]byte(nil), second...)
		w.joined.Add(1)
		w.loop.Post(func() { w.join(it.FD, h.Hello, unixipc.Peer{PID: h.PID, UID: h.UID, GID: h.GID}, h.Operator, rest) })
	default:
		t.lost(it, fmt.Errorf("late item of kind %q", byte(kind)))
	}
}

func (t *takeover) lost(it handoff.Item, err error) {
	t.worlds[0].log.Error("a late item of the old process is lost", "err", err)
	if it.FD >= 0 {
		_ = closeFd(it.FD)
	}
}
