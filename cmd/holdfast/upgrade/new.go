package upgrade

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"holdfast/cmd/holdfast/credentials"
	"holdfast/cmd/holdfast/metrics"
	"holdfast/cmd/holdfast/shard"
	"holdfast/conn"
	"holdfast/relay"
	"holdfast/unixipc"
	"holdfast/unixipc/handoff"

	"github.com/cloudflare/tableflip"
	"golang.org/x/sys/unix"
)

// Takeover stages what the old process hands over: in the shards, whose loops
// do not run yet. It implements handoff.Stager.
type Takeover struct {
	shards   []*shard.Shard
	staged   map[uint64]*staged
	chargers map[*relay.Charger]*staged // with a connection
	unfit    map[*staged]bool           // see check
	Frozen   time.Time
	keys     *credentials.Tickets // nil: no TLS
	tickets  []credentials.TicketKey
	Counters []byte // see gateway.inherit
	process  *metrics.Counters
}

// staged is one item.
type staged struct {
	shard   *shard.Shard
	kind    itemKind
	conn    *conn.Conn
	charger *relay.Charger
	link    *shard.Link
}

func newTakeover(shards []*shard.Shard, n *metrics.Counters, keys *credentials.Tickets) *Takeover {
	return &Takeover{shards: shards, process: n, keys: keys, staged: map[uint64]*staged{}, chargers: map[*relay.Charger]*staged{}, unfit: map[*staged]bool{}}
}

// Put implements handoff.Stager.
func (t *Takeover) Put(it handoff.Item) (err error) {
	defer func() {
		if err != nil && it.FD >= 0 {
			_ = unix.Close(it.FD)
		}
	}()
	kind, loop, first, second, err := parseItem(it.State)
	if err != nil {
		return err
	}
	if loop >= len(t.shards) {
		return fmt.Errorf("item of loop %d; there are %d", loop, len(t.shards))
	}
	if (it.FD >= 0) != (kind == itemLink || kind == itemCharger) {
		return fmt.Errorf("item of kind %q, file descriptor %d", byte(kind), it.FD)
	}
	s := &staged{shard: t.shards[loop], kind: kind}
	t.staged[it.ID] = s
	switch kind {
	case itemFrozen:
		if len(first) != 8 {
			return errors.New("time of the freeze is malformed")
		}
		t.Frozen = time.Unix(0, int64(binary.BigEndian.Uint64(first)))
		t.Counters = append([]byte(nil), second...)
		return nil
	case itemTickets:
		t.tickets, err = credentials.ParseTickets(first)
		return err
	case itemLink:
		return s.adoptLink(it.FD, first)
	case itemOffline:
		if s.charger, err = s.shard.Relay.AdoptCharger(second, 0); err != nil {
			return err
		}
		if _, connected := s.charger.Conn(); connected {
			return fmt.Errorf("charger %q is connected, but without a connection", s.charger.Identity())
		}
		return nil
	case itemCharger:
		if s.conn, err = s.shard.Loop.Adopt(it.FD, first, nil); err != nil {
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
	w := s.shard
	l := &shard.Link{Shard: w}
	if l.Relay, err = w.Relay.AdoptLink(state); err != nil {
		return err
	}
	if l.Source, err = w.Loop.Watch(fd, l.Ready); err != nil {
		w.Relay.UnadoptLink(l.Relay)
		return err
	}
	s.link = l
	w.Links[l.Relay] = l
	return nil
}

// adoptCharger gives s the charger that state tells of; none if it is empty.
func (t *Takeover) adoptCharger(s *staged, state []byte) (err error) {
	if len(state) == 0 {
		return nil
	}
	// The charger may have reconnected during the pre-copy: then it is
	// staged with its former connection, too.
	if c := s.shard.Relay.Charger(s.conn.Identity); c != nil {
		t.release(t.chargers[c])
	}
	if s.charger, err = s.shard.Relay.AdoptCharger(state, s.conn.Handle()); err != nil {
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
	s.shard.Counters.Kind(s.conn).Held++
	return nil
}

// release takes the charger from s.
func (t *Takeover) release(s *staged) {
	if s == nil || s.charger == nil {
		return
	}
	delete(t.chargers, s.charger)
	s.shard.Counters.Kind(s.conn).Held--
	s.shard.Relay.UnadoptCharger(s.charger)
	s.charger = nil
	s.conn.User = nil
	t.check(s)
}

// Update implements handoff.Stager.
func (t *Takeover) Update(id uint64, state []byte) error {
	s := t.staged[id]
	kind, _, first, second, err := parseItem(state)
	switch {
	case err != nil:
		return err
	case kind != s.kind:
		return fmt.Errorf("item of kind %q became %q", byte(s.kind), byte(kind))
	case kind == itemLink:
		return s.shard.Relay.ReadoptLink(s.link.Relay, first)
	case kind != itemCharger:
		return fmt.Errorf("item of kind %q cannot be updated", byte(kind))
	}
	if err := s.conn.Readopt(first); err != nil {
		return err
	}
	t.release(s)
	defer t.check(s)
	return t.adoptCharger(s, second)
}

// Drop implements handoff.Stager.
func (t *Takeover) Drop(id uint64) error {
	s := t.staged[id]
	delete(t.staged, id)
	switch s.kind {
	case itemLink:
		s.shard.Relay.UnadoptLink(s.link.Relay)
		delete(s.shard.Links, s.link.Relay)
		s.link.Source.Release()
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
func (t *Takeover) check(s *staged) {
	if s.conn != nil && s.conn.Draining() == (s.charger != nil) {
		t.unfit[s] = true
	} else {
		delete(t.unfit, s)
	}
}

// Verify implements handoff.Stager. It takes no longer the more there are.
func (t *Takeover) Verify() error {
	for s := range t.unfit {
		return fmt.Errorf("connection of %q and its charger do not fit (and %d others)", s.conn.Identity, len(t.unfit)-1)
	}
	return nil
}

// Activate makes everything the shards' own. Their loops are started next.
func (t *Takeover) Activate() (connections, links int) {
	for _, w := range t.shards {
		links += len(w.Links)
		w.Loop.Post(func() {
			w.Relay.Activate()
		})
	}
	if t.keys != nil && t.tickets != nil {
		t.keys.Adopt(t.tickets)
	}
	t.shards[0].Held.Store(int64(len(t.chargers)))
	t.shards[0].Joined.Store(int64(links))
	return len(t.chargers), links
}

// Late takes over what the old process finished after the freeze.
func (t *Takeover) Late(it handoff.Item) {
	kind, loop, first, second, err := parseItem(it.State)
	if err == nil && (loop >= len(t.shards) || it.FD < 0) {
		err = fmt.Errorf("late item of loop %d, file descriptor %d", loop, it.FD)
	}
	if err != nil {
		t.lost(it, err)
		return
	}
	w := t.shards[loop]
	switch kind {
	case itemLateOpen:
		s, early, err := conn.ParseState(first)
		if err != nil {
			t.lost(it, err)
			return
		}
		t.process.Handshake("opened", http.StatusSwitchingProtocols, 0)
		w.Held.Add(1)
		w.Loop.Post(func() { w.Open(it.FD, s, early) })
	case itemLateJoin:
		var h lateHello
		if err := json.Unmarshal(first, &h); err != nil {
			t.lost(it, err)
			return
		}
		rest := append([]byte(nil), second...)
		w.Joined.Add(1)
		w.Loop.Post(func() { w.Join(it.FD, h.Hello, unixipc.Peer{PID: h.PID, UID: h.UID, GID: h.GID}, h.Operator, rest) })
	default:
		t.lost(it, fmt.Errorf("late item of kind %q", byte(kind)))
	}
}

func (t *Takeover) lost(it handoff.Item, err error) {
	t.shards[0].Log.Error("a late item of the old process is lost", "err", err)
	if it.FD >= 0 {
		_ = shard.CloseFD(it.FD)
	}
}

// TakeOver receives everything from the old process. When it returns nil, all
// is ours.
func TakeOver(channel *net.UnixConn, version string, shards []*shard.Shard, counters *metrics.Counters, keys *credentials.Tickets) (*Takeover, *handoff.New, error) {
	n := handoff.NewNew(channel)
	begin, err := n.Hello(handoff.Hello{Program: version, Versions: conn.StateVersions, Additions: true})
	if err != nil {
		return nil, nil, err
	}
	var note beginNote
	if err := json.Unmarshal(begin.Note, &note); err != nil {
		return nil, nil, n.Refuse(fmt.Errorf("BEGIN: %w", err))
	}
	if note.Loops != len(shards) {
		return nil, nil, n.Refuse(fmt.Errorf("loops is %d, and was %d: that can only change with a restart", len(shards), note.Loops))
	}
	t := newTakeover(shards, counters, keys)
	if err := n.Receive(t); err != nil {
		return nil, nil, err
	}
	return t, n, nil
}

// FlipTimeout is when tableflip ends a new process that is not ready. The
// hand-over has shorter limits of its own, and must be the one that decides.
const FlipTimeout = 24 * time.Hour

// Inherited is the hand-over channel to the process that started us; nil if
// there is none.
func Inherited(flip *tableflip.Upgrader) (*net.UnixConn, error) {
	if !flip.HasParent() {
		return nil, nil
	}
	f, err := flip.File(handoffFile)
	if err != nil || f == nil {
		return nil, fmt.Errorf("started by another gateway, but without a hand-over channel: %w", err)
	}
	defer func() { _ = f.Close() }()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("hand-over channel: %w", err)
	}
	return c.(*net.UnixConn), nil
}

// GCPercent is the same while connections are handed over: it is short,
// and collecting would add to the pause.
const GCPercent = 400
