package shard

// Theory of operation
//
// A shard is in one of these states:
//
//	staged       its loop does not turn yet; an upgrade may fill it (handover.go)
//	turning      its loop owns everything, and nobody else touches it
//	frozen       its loop stands still behind a turn; an upgrade owns everything
//	handed over  everything is another process's; what still comes goes to Late
//	stopped      its loop has returned; the process ends
//
//	New ──▶ staged ── Run ──▶ turning ── Loop.Between ──▶ frozen ── HandOver ──▶ handed over
//	                           ▲ │                          │
//	                 rolled back │                          │
//	                           └─┼──────────────────────────┘
//	                             └── Loop.Stop ──▶ stopped
//
// Who may move it. Only the goroutine that handles signals, on which upgrades run. It
// posts to the loop, and touches the shard itself only while the shard is staged or
// frozen. Other goroutines reach a shard through Loop.Post, Ask and Verdict alone.
//
// Four parties meet in a shard, all of them on the goroutine of its loop:
//
//	charger   ──▶ conn.Loop ── Message, Sent, Closed ──▶ Shard ──────▶ relay.Relay
//	charger   ◀── conn.Loop ◀─ Send, Close, Pause ───── toChargers ◀── relay.Relay
//	processor ◀─▶ socket ◀──── bytes ──────────────────▶ Link ◀──────▶ relay.Relay
//	log, counters ◀──────────────────────────────────── observer ◀──── relay.Relay
//
// A turn. BeginTurn gives the relay its clock. Then each event of the loop goes
// through one method of Shard, of Link or a posted function. What the relay writes
// for a link in the turn waits in the link, and LinkReady lists the link. EndTurn
// writes to each listed link once, and sets the loop's alarm to the relay's next
// deadline.
//
// A charger. Open adds the connection to the loop and reports it to the relay;
// conn.Conn.User is its relay.Charger from then on. If the identity is connected
// already, the former connection is read to its end and dropped first, so that its
// messages come first. The loop calls Closed exactly once, behind the last message;
// the relay keeps the charger until its queue is acknowledged.
//
// A link. Join watches the socket and passes the HELLO to the relay. The link ends
// once, in Link.close: because the socket has ended, or because the relay has ended
// it (relay.Link.Ended), which Link.flush notices when the reason is written.
//
// Back pressure. A charger whose queue is full is paused by the relay: its socket is
// not read. A charger that does not read its answers fills its write buffer, and the
// loop stops reading from it. A processor that does not read has its window full; it
// is read from until its orders have filled maxUnwritten (Link.watch).
//
// An upgrade exports the shard in slices on the loop, and freezes it for the rest.
// After a roll-back nothing of the shard has changed. Handshakes that end after a
// COMMIT find the shard handed over, and go on to the new process.

import (
	"log/slog"
	"sync/atomic"
	"time"

	"holdfast/cmd/holdfast/addresses"
	"holdfast/cmd/holdfast/metrics"
	"holdfast/conn"
	"holdfast/relay"
	"holdfast/unixipc"
)

// A Shard is one loop with everything it owns: its connections, its relay and
// its links. It translates between conn and relay, which never meet. Methods and
// fields belong to the loop, but those that are documented otherwise.
type Shard struct {
	Index  int
	shards []*Shard // all of them, this one included
	Loop   *conn.Loop
	Relay  *relay.Relay
	Log    *slog.Logger
	Held   *atomic.Int64          // connections of all shards; any goroutine
	From   *addresses.Connections // the same by address; any goroutine
	Joined *atomic.Int64          // links of all shards; any goroutine

	links    links
	Counters metrics.LoopCounters

	offline atomic.Int64 // chargers that are known and not connected, at the end of the last turn; any goroutine

	nacksLogged   time.Time // when a line about NACKs was logged last
	nacksUnlogged int       // chargers of which there was none since

	saving saving

	late Late // not nil: the shard was handed over
}

// Run turns the loop until it is stopped.
func (s *Shard) Run() error { return s.Loop.Run() }

// Open takes over a charger whose handshake is done. note is what a processor left with
// its verdict; nil: nothing.
func (s *Shard) Open(fd int, state conn.State, early, note []byte) {
	if s.late != nil {
		s.late.Open(s.Index, fd, state, early, note)
		return
	}
	if handle, ok := s.Relay.Connected(state.Identity); ok {
		former := s.Loop.Lookup(handle)
		former.ReadLeft() // what the charger had sent before it came again
		former.Drop(conn.ReasonReplaced.Close())
	}
	c, err := s.Loop.Add(fd, state, nil, early)
	if err != nil {
		s.Log.Error("connection lost", "charger", state.Identity, "err", err)
		_ = CloseFD(fd)
		s.Held.Add(-1)
		s.From.Leave(state.Remote.Addr())
		return
	}
	attrs := []any{"charger", state.Identity, "remote", state.Remote.String(), "subprotocol", state.Subprotocol.String(), "path", state.Path.String()}
	if state.TLS != nil {
		attrs = append(attrs, "tls", state.TLS.String())
	}
	if state.Certificate != nil {
		attrs = append(attrs, "certificate", state.Certificate.Subject)
	}
	s.Log.Info("opened", attrs...)
	k := s.Counters.Kind(c)
	k.Held++
	k.Opened++
	c.User = s.Relay.Opened(state.Identity, state.Subprotocol.String(), c.Handle(), note)
}

// Join takes over the socket of a processor whose HELLO is done. rest are the bytes
// that followed it.
func (s *Shard) Join(fd int, hello unixipc.HelloBody, peer unixipc.Peer, operator bool, rest []byte) {
	if s.late != nil {
		s.late.Join(s.Index, fd, hello, peer, operator, rest)
		return
	}
	s.links.join(fd, hello, peer, operator, rest)
}

// Links returns the links, which stay the shard's. The map must not be changed.
func (s *Shard) Links() map[*relay.Link]*Link { return s.links.all }

// BeginTurn implements conn.Handler.
func (s *Shard) BeginTurn(now time.Time) { s.Relay.SetNow(now) }

// flagsOf has what processors are told of a message.
var flagsOf = [...]unixipc.Flags{conn.Text: 0, conn.Binary: unixipc.Binary, conn.MalformedText: unixipc.Binary | unixipc.Malformed}

// Message implements conn.Handler.
func (s *Shard) Message(c *conn.Conn, payload []byte, kind conn.Kind) {
	s.Counters.MessagesIn++
	s.Counters.BytesIn += uint64(len(payload))
	poison(payload)
	s.Relay.Message(c.User.(*relay.Charger), payload, flagsOf[kind], c.Leaving())
}

// Sent implements conn.Handler.
func (s *Shard) Sent(c *conn.Conn, position uint64) {
	s.Relay.Sent(c.User.(*relay.Charger), position)
}

// Closed implements conn.Handler.
func (s *Shard) Closed(c *conn.Conn, why conn.Close) {
	s.Log.Info("closed", "charger", c.Identity, "code", why.Code, "reason", why.Reason, "by", string(why.By),
		"held", s.Loop.Now().Sub(time.UnixMilli(c.Opened)).Round(time.Millisecond).String())
	s.Relay.Closed(c.User.(*relay.Charger), unixipc.ClosedBody{Code: why.Code, Reason: why.Reason, By: string(why.By)})
	c.User = nil
	s.Held.Add(-1)
	s.From.Leave(c.Remote.Addr())
	s.Counters.Kind(c).Held--
	s.Counters.CountClosed(why)
}

// Alarm implements conn.Handler.
func (s *Shard) Alarm(time.Time) { s.Relay.Tick() }

// EndTurn implements conn.Handler: one write for each link that has something.
func (s *Shard) EndTurn() {
	if s.Kept() {
		s.links.flushCommitted()
		if s.Relay.Unsaved() {
			s.Loop.Again()
		}
	} else {
		s.Relay.EndTurn()
		s.links.flush()
	}
	s.offline.Store(int64(s.Relay.OfflineCount()))
	s.Loop.SetAlarm(s.Relay.Deadline())
	s.Counters.EndTurn(s.Loop.Now())
}

// Offline returns how many chargers of all shards are known and not connected. Any
// goroutine may call it.
func Offline(shards []*Shard) (n int) {
	for _, s := range shards {
		n += int(s.offline.Load())
	}
	return n
}

// CloseIf begins to close the connections that which selects, and returns how many they
// are; -1 when they are another process's now.
func (s *Shard) CloseIf(which func(*conn.Conn) bool, why conn.Close) (n int) {
	if s.late != nil {
		return -1
	}
	s.Loop.All(func(c *conn.Conn) {
		if which(c) {
			c.Close(why)
			n++
		}
	})
	return n
}

// CloseShare begins to close one in n of the connections that are open.
func (s *Shard) CloseShare(n int, why conn.Close) {
	i := 0
	s.Loop.All(func(c *conn.Conn) {
		if i++; i%n == 0 {
			c.Close(why)
		}
	})
}

// Undrain takes Drain back on each link of a processor, and returns how many there
// are with anything to take back; -1 when the links are another process's now.
func (s *Shard) Undrain(processor string) (n int) {
	if s.late != nil {
		return -1
	}
	for l := range s.links.all {
		if l.Name() == processor && s.Relay.Undrain(l) {
			s.linkChanged(s.links.all[l])
			n++
		}
	}
	return n
}

// Drain starts DRAIN on each link of a processor, and returns how many there
// are; -1 when the links are another process's now.
func (s *Shard) Drain(processor string) (n int) {
	if s.late != nil {
		return -1
	}
	for l := range s.links.all {
		if l.Name() == processor {
			s.Relay.Drain(l)
			s.linkChanged(s.links.all[l])
			n++
		}
	}
	return n
}
