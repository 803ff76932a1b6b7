package upgrade

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"time"

	"holdfast/cmd/holdfast/credentials"
	"holdfast/cmd/holdfast/item"
	"holdfast/cmd/holdfast/metrics"
	"holdfast/cmd/holdfast/shard"
	"holdfast/conn"
	"holdfast/relay"
	"holdfast/unixipc"
	"holdfast/unixipc/handoff"
	"holdfast/unixipc/journal"
	"holdfast/unixipc/keep"

	"golang.org/x/sys/unix"
)

// A stage holds what the old process hands over, in the shards, whose loops do
// not run yet. It implements handoff.Stager.
type stage struct {
	shards   []*shard.Shard
	counters *metrics.Counters
	keys     *credentials.Tickets // nil: no TLS

	items    map[uint64]*staged
	chargers map[*relay.Charger]*staged // those with a connection
	unfit    map[*staged]bool           // see check
	begun    []byte                     // of the connection that is put next; see conn.Loop.AdoptSaved
	unkept   func(error)                // nil: no keeper is configured; see shard.KeepWith
	frozen   time.Time
	encoded  []byte // counters of the old process
	tickets  []credentials.TicketKey
}

// staged is one item.
type staged struct {
	shard   *shard.Shard
	kind    itemKind
	conn    *conn.Conn
	charger *relay.Charger
	link    *shard.Link
}

func newStage(shards []*shard.Shard, counters *metrics.Counters, keys *credentials.Tickets) *stage {
	return &stage{
		shards: shards, counters: counters, keys: keys,
		items: map[uint64]*staged{}, chargers: map[*relay.Charger]*staged{}, unfit: map[*staged]bool{},
	}
}

// Put implements handoff.Stager.
func (s *stage) Put(it handoff.Item) (err error) {
	defer func() {
		if err != nil && it.FD >= 0 {
			_ = unix.Close(it.FD)
		}
	}()
	kind, loop, first, second, err := item.Parse(it.State)
	if err != nil {
		return err
	}
	if loop >= len(s.shards) {
		return fmt.Errorf("item of loop %d; there are %d", loop, len(s.shards))
	}
	if (it.FD >= 0) != (kind == itemLink || kind == itemCharger || kind == itemKeeper) {
		return fmt.Errorf("item of kind %q, file descriptor %d", byte(kind), it.FD)
	}
	held := &staged{shard: s.shards[loop], kind: kind}
	s.items[it.ID] = held
	switch kind {
	case itemFrozen:
		s.encoded = append([]byte(nil), second...)
		s.frozen, err = parseFrozen(first)
		return err
	case itemLastLink:
		last, err := parseLastLinks(first)
		if err == nil && len(last) != len(s.shards) {
			err = fmt.Errorf("last links of %d loops; there are %d", len(last), len(s.shards))
		}
		for i := 0; i < len(last) && err == nil; i++ {
			s.shards[i].Relay.SetLastLink(last[i])
		}
		return err
	case itemKeeper:
		return s.keep(held.shard, it.FD)
	case itemSlots:
		return s.settle(first)
	case itemDrops:
		for len(first) > 0 {
			slot, n := binary.Uvarint(first)
			if n <= 0 || slot > math.MaxUint32 {
				return errors.New("slots to be dropped are malformed")
			}
			if first = first[n:]; s.shards[0].Kept() {
				s.shards[0].Forsake(journal.Slot(slot))
			}
		}
		return nil
	case itemTickets:
		s.tickets, err = credentials.ParseTickets(first)
		return err
	case itemLink:
		held.link, err = held.shard.AdoptLink(it.FD, first)
		return err
	case itemOffline:
		if held.charger, err = held.shard.Relay.AdoptCharger(second, 0); err != nil {
			return err
		}
		if _, connected := held.charger.Conn(); connected {
			return fmt.Errorf("charger %q is connected, but without a connection", held.charger.Identity())
		}
		return nil
	case itemCharger:
		if held.conn, err = held.shard.Loop.AdoptSaved(it.FD, first, s.begun, nil); err != nil {
			return err
		}
		it.FD = -1 // the loop's
		if err = s.adoptCharger(held, second); err != nil {
			held.conn.Unstage()
			return err
		}
		s.check(held)
		return nil
	}
	if kind&item.Optional != 0 {
		return nil
	}
	return fmt.Errorf("item of unknown kind %q", byte(kind))
}

// adoptCharger gives held the charger of state; none if state is empty.
func (s *stage) adoptCharger(held *staged, state []byte) (err error) {
	if len(state) == 0 {
		return nil
	}
	// The charger may have reconnected during the pre-copy: then it is
	// staged with its former connection, too.
	if c := held.shard.Relay.Charger(held.conn.Identity); c != nil {
		s.release(s.chargers[c])
	}
	if held.charger, err = held.shard.Relay.AdoptCharger(state, held.conn.Handle()); err != nil {
		return err
	}
	if held.charger.Identity() != held.conn.Identity {
		err = fmt.Errorf("connection of %q with the charger %q", held.conn.Identity, held.charger.Identity())
	} else if _, connected := held.charger.Conn(); !connected {
		err = fmt.Errorf("charger %q has a connection, but is not connected", held.conn.Identity)
	}
	if err != nil {
		held.shard.Relay.UnadoptCharger(held.charger)
		held.charger = nil
		return err
	}
	held.conn.User = held.charger
	s.chargers[held.charger] = held
	held.shard.Counters.Kind(held.conn).Held++
	held.shard.From.Enter(held.conn.Remote.Addr())
	return nil
}

// release takes the charger from held.
func (s *stage) release(held *staged) {
	if held == nil || held.charger == nil {
		return
	}
	delete(s.chargers, held.charger)
	held.shard.Counters.Kind(held.conn).Held--
	held.shard.From.Leave(held.conn.Remote.Addr())
	held.shard.Relay.UnadoptCharger(held.charger)
	held.charger = nil
	held.conn.User = nil
	s.check(held)
}

// Update implements handoff.Stager.
func (s *stage) Update(id uint64, state []byte) error {
	held := s.items[id]
	kind, _, first, second, err := item.Parse(state)
	switch {
	case err != nil:
		return err
	case kind != held.kind:
		return fmt.Errorf("item of kind %q became %q", byte(held.kind), byte(kind))
	case kind == itemLink:
		held.shard.LinkChanged(held.link)
		return held.shard.Relay.ReadoptLink(held.link.Relay, first)
	case kind != itemCharger:
		return fmt.Errorf("item of kind %q cannot be updated", byte(kind))
	}
	if err := held.conn.Readopt(first); err != nil {
		return err
	}
	s.release(held)
	defer s.check(held)
	return s.adoptCharger(held, second)
}

// Drop implements handoff.Stager.
func (s *stage) Drop(id uint64) error {
	held := s.items[id]
	delete(s.items, id)
	switch held.kind {
	case itemLink:
		slot, kept := held.link.Slot()
		held.shard.Unsettle(slot, kept)
		held.shard.UnadoptLink(held.link)
	case itemCharger:
		s.release(held)
		delete(s.unfit, held)
		held.shard.Unsettle(held.conn.Slot(), held.conn.Kept())
		held.conn.Unstage()
	default:
		return fmt.Errorf("item of kind %q cannot be dropped", byte(held.kind))
	}
	return nil
}

// check keeps account of the items that cannot stay as they are: a connection
// has its charger, unless it is only being ended; then it has none.
func (s *stage) check(held *staged) {
	if held.conn != nil && held.conn.Draining() == (held.charger != nil) {
		s.unfit[held] = true
	} else {
		delete(s.unfit, held)
	}
}

// Verify implements handoff.Stager. It takes no longer the more there are.
func (s *stage) Verify() error {
	for _, part := range s.shards {
		if part.Kept() {
			part.Complete(shard.Meta{Instance: part.Relay.Instance()}, nil)
		}
	}
	for held := range s.unfit {
		return fmt.Errorf("connection of %q and its charger do not fit (and %d others)", held.conn.Identity, len(s.unfit)-1)
	}
	return nil
}

// activate gives everything to the shards.
func (s *stage) activate() (connections, links int) {
	for _, part := range s.shards {
		links += len(part.Links())
		part.Loop.Post(func() {
			part.Relay.Activate()
			part.Loop.SaveRest()
		})
	}
	if s.keys != nil && s.tickets != nil {
		s.keys.Adopt(s.tickets)
	}
	s.shards[0].Held.Store(int64(len(s.chargers)))
	s.shards[0].Joined.Store(int64(links))
	return len(s.chargers), links
}

// late takes over one item that came after the freeze, while the loops run.
func (s *stage) late(it handoff.Item) {
	kind, loop, first, second, err := item.Parse(it.State)
	if err == nil && (loop >= len(s.shards) || it.FD < 0) {
		err = fmt.Errorf("late item of loop %d, file descriptor %d", loop, it.FD)
	}
	if err != nil {
		s.lost(it, err)
		return
	}
	part := s.shards[loop]
	switch kind {
	case itemLateOpen:
		state, early, err := conn.ParseState(first)
		if err == nil && len(second) > unixipc.MaxNote {
			err = fmt.Errorf("charger %q with a note of %d bytes", state.Identity, len(second))
		}
		if err != nil {
			s.lost(it, err)
			return
		}
		s.counters.Handshake("opened", http.StatusSwitchingProtocols, 0)
		part.Held.Add(1)
		part.From.Enter(state.Remote.Addr())
		note := append([]byte(nil), second...)
		part.Loop.Post(func() { part.Open(it.FD, state, early, note) })
	case itemLateJoin:
		var h lateHello
		if err := json.Unmarshal(first, &h); err != nil {
			s.lost(it, err)
			return
		}
		rest := append([]byte(nil), second...)
		part.Joined.Add(1)
		part.Loop.Post(func() { part.Join(it.FD, h.Hello, unixipc.Peer{PID: h.PID, UID: h.UID, GID: h.GID}, h.Operator, rest) })
	default:
		s.lost(it, fmt.Errorf("late item of kind %q", byte(kind)))
	}
}

func (s *stage) lost(it handoff.Item, err error) {
	s.shards[0].Log.Error("a late item of the old process is lost", "err", err)
	if it.FD >= 0 {
		_ = shard.CloseFD(it.FD)
	}
}

// keep goes on with the old process's connection to the keeper. It owns fd unless there
// is an error.
func (s *stage) keep(part *shard.Shard, fd int) error {
	if s.unkept == nil {
		return errors.New("a connection to a keeper, though none is configured")
	}
	j, err := journal.New()
	if err != nil {
		return err
	}
	owner, err := keep.Adopt(fd)
	if err != nil {
		j.Close()
		return err
	}
	if err := part.KeepWith(j, owner, s.unkept); err != nil {
		j.Close()
		return err
	}
	return nil
}

// settle takes over the slots under which the keeper has sockets, and writes down what is
// staged so far: not much is left for the freeze then.
func (s *stage) settle(first []byte) error {
	slots, err := parseSlots(first)
	if err != nil {
		return err
	}
	for id, slot := range slots {
		held := s.items[id]
		switch {
		case held == nil || !held.shard.Kept():
		case held.conn != nil && !held.conn.Kept():
			err = held.shard.ResettleConn(held.conn, slot, 0)
		case held.link != nil && !held.link.Kept():
			err = held.shard.ResettleLink(held.link, slot, 0)
		}
		if err != nil {
			return err
		}
	}
	for _, part := range s.shards {
		if part.Kept() {
			part.WriteStaged()
		}
	}
	return nil
}
