package upgrade

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"holdfast/cmd/holdfast/credentials"
	"holdfast/cmd/holdfast/metrics"
	"holdfast/cmd/holdfast/shard"
	"holdfast/conn"
	"holdfast/relay"
	"holdfast/unixipc"
	"holdfast/unixipc/handoff"

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
	kind, loop, first, second, err := parseItem(it.State)
	if err != nil {
		return err
	}
	if loop >= len(s.shards) {
		return fmt.Errorf("item of loop %d; there are %d", loop, len(s.shards))
	}
	if (it.FD >= 0) != (kind == itemLink || kind == itemCharger) {
		return fmt.Errorf("item of kind %q, file descriptor %d", byte(kind), it.FD)
	}
	item := &staged{shard: s.shards[loop], kind: kind}
	s.items[it.ID] = item
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
	case itemTickets:
		s.tickets, err = credentials.ParseTickets(first)
		return err
	case itemLink:
		item.link, err = item.shard.AdoptLink(it.FD, first)
		return err
	case itemOffline:
		if item.charger, err = item.shard.Relay.AdoptCharger(second, 0); err != nil {
			return err
		}
		if _, connected := item.charger.Conn(); connected {
			return fmt.Errorf("charger %q is connected, but without a connection", item.charger.Identity())
		}
		return nil
	case itemCharger:
		if item.conn, err = item.shard.Loop.Adopt(it.FD, first, nil); err != nil {
			return err
		}
		it.FD = -1 // the loop's
		if err = s.adoptCharger(item, second); err != nil {
			item.conn.Unstage()
			return err
		}
		s.check(item)
		return nil
	}
	if kind&itemOptional != 0 {
		return nil
	}
	return fmt.Errorf("item of unknown kind %q", byte(kind))
}

// adoptCharger gives item the charger of state; none if state is empty.
func (s *stage) adoptCharger(item *staged, state []byte) (err error) {
	if len(state) == 0 {
		return nil
	}
	// The charger may have reconnected during the pre-copy: then it is
	// staged with its former connection, too.
	if c := item.shard.Relay.Charger(item.conn.Identity); c != nil {
		s.release(s.chargers[c])
	}
	if item.charger, err = item.shard.Relay.AdoptCharger(state, item.conn.Handle()); err != nil {
		return err
	}
	if item.charger.Identity() != item.conn.Identity {
		return fmt.Errorf("connection of %q with the charger %q", item.conn.Identity, item.charger.Identity())
	}
	if _, connected := item.charger.Conn(); !connected {
		return fmt.Errorf("charger %q has a connection, but is not connected", item.conn.Identity)
	}
	item.conn.User = item.charger
	s.chargers[item.charger] = item
	item.shard.Counters.Kind(item.conn).Held++
	item.shard.From.Enter(item.conn.Remote.Addr())
	return nil
}

// release takes the charger from item.
func (s *stage) release(item *staged) {
	if item == nil || item.charger == nil {
		return
	}
	delete(s.chargers, item.charger)
	item.shard.Counters.Kind(item.conn).Held--
	item.shard.From.Leave(item.conn.Remote.Addr())
	item.shard.Relay.UnadoptCharger(item.charger)
	item.charger = nil
	item.conn.User = nil
	s.check(item)
}

// Update implements handoff.Stager.
func (s *stage) Update(id uint64, state []byte) error {
	item := s.items[id]
	kind, _, first, second, err := parseItem(state)
	switch {
	case err != nil:
		return err
	case kind != item.kind:
		return fmt.Errorf("item of kind %q became %q", byte(item.kind), byte(kind))
	case kind == itemLink:
		return item.shard.Relay.ReadoptLink(item.link.Relay, first)
	case kind != itemCharger:
		return fmt.Errorf("item of kind %q cannot be updated", byte(kind))
	}
	if err := item.conn.Readopt(first); err != nil {
		return err
	}
	s.release(item)
	defer s.check(item)
	return s.adoptCharger(item, second)
}

// Drop implements handoff.Stager.
func (s *stage) Drop(id uint64) error {
	item := s.items[id]
	delete(s.items, id)
	switch item.kind {
	case itemLink:
		item.shard.UnadoptLink(item.link)
	case itemCharger:
		s.release(item)
		delete(s.unfit, item)
		item.conn.Unstage()
	default:
		return fmt.Errorf("item of kind %q cannot be dropped", byte(item.kind))
	}
	return nil
}

// check keeps account of the items that cannot stay as they are: a connection
// has its charger, unless it is only being ended; then it has none.
func (s *stage) check(item *staged) {
	if item.conn != nil && item.conn.Draining() == (item.charger != nil) {
		s.unfit[item] = true
	} else {
		delete(s.unfit, item)
	}
}

// Verify implements handoff.Stager. It takes no longer the more there are.
func (s *stage) Verify() error {
	for item := range s.unfit {
		return fmt.Errorf("connection of %q and its charger do not fit (and %d others)", item.conn.Identity, len(s.unfit)-1)
	}
	return nil
}

// activate gives everything to the shards.
func (s *stage) activate() (connections, links int) {
	for _, part := range s.shards {
		links += len(part.Links())
		part.Loop.Post(func() { part.Relay.Activate() })
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
	kind, loop, first, second, err := parseItem(it.State)
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
