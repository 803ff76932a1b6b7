package upgrade

// Theory of operation: the process that takes over
//
// A gateway that finds a channel (Inherited) was started by another one, and does
// not own anything yet. It goes through these states:
//
//	starting    reads its configuration and adopts the listeners; accepts nothing
//	receiving   has said HELLO and read BEGIN; stages what comes (see stage.go)
//	prepared    has verified everything and said so; waits for COMMIT
//	active      has read COMMIT and said ACTIVE: everything is its own
//	serving     its loops turn, and it accepts
//
//	starting ──▶ receiving ──▶ prepared ── COMMIT ──▶ active ──▶ serving
//	   │             │             │
//	   └─────────────┴─────────────┴──▶ exit: nothing here was ever its own
//
// Who may move it. Everything up to serving happens on the goroutine of gateway.Run:
// TakeOver, then Activate, then the start of the loops. No loop turns before, so
// the shards need no lock and no connection is read or written.
//
// What holds:
//
//   - Until COMMIT is read, a fault refuses the hand-over (Refuse): the old process
//     goes on. Closing a staged socket leaves its connection alone; only the old
//     process may end it.
//   - The end of the channel is no COMMIT. A process whose parent dies before it
//     exits.
//   - Once prepared, nothing is left that could fail: Activate returns no error.
//   - ACTIVE is said before a byte of a connection is touched.
//   - Serving, it still receives what the old process finishes (Late), on a
//     goroutine of its own that posts to the loops. A fault there costs one
//     connection and is logged.

import (
	"encoding/json"
	"fmt"
	"net"
	"time"

	"holdfast/cmd/holdfast/credentials"
	"holdfast/cmd/holdfast/metrics"
	"holdfast/cmd/holdfast/shard"
	"holdfast/conn"
	"holdfast/unixipc/handoff"
)

// A Takeover is everything that the old process has handed over.
type Takeover struct {
	Frozen   time.Time // when its loops stopped
	Counters []byte    // what it had counted (metrics.ParseCounters); empty: nothing
	stage    *stage
	channel  *handoff.New
}

// Refuse reports to the old process why this one does not take over, and returns
// why. Without a channel there is nobody to report to.
func Refuse(channel *net.UnixConn, why error) error {
	if channel == nil {
		return why
	}
	return handoff.NewNew(channel).Refuse(why)
}

// TakeOver receives everything from the old process into shards, whose loops must
// not run yet. Without an error all is this process's. keys is nil without TLS.
// unkept is nil without a keeper; see shard.KeepWith.
func TakeOver(channel *net.UnixConn, version string, shards []*shard.Shard, counters *metrics.Counters, keys *credentials.Tickets, unkept func(error)) (*Takeover, error) {
	n := handoff.NewNew(channel)
	known := features()
	if unkept != nil {
		known = append(known, featureKeeper)
	}
	begin, err := n.Hello(handoff.Hello{Program: version, Versions: conn.StateVersions, Features: known})
	if err != nil {
		return nil, err
	}
	var note beginNote
	if err := json.Unmarshal(begin.Note, &note); err != nil {
		return nil, n.Refuse(fmt.Errorf("BEGIN: %w", err))
	}
	if note.Loops != len(shards) {
		return nil, n.Refuse(fmt.Errorf("loops is %d, and was %d: that can only change with a restart", len(shards), note.Loops))
	}
	if note.Instance != "" { // an older release has none
		for _, s := range shards {
			s.Relay.SetInstance(note.Instance)
		}
	}
	s := newStage(shards, counters, keys)
	s.unkept = unkept
	if err := n.Receive(s); err != nil {
		return nil, err
	}
	// Behind ACTIVE: an old process that has not seen it goes on with the memory that the
	// keeper has. Before a byte is touched: from there on that memory is out of date.
	for _, part := range shards {
		_ = part.Own() // or it is unkept, which is told
	}
	return &Takeover{Frozen: s.frozen, Counters: s.encoded, stage: s, channel: n}, nil
}

// Activate makes everything the shards' own. Their loops are started next.
func (t *Takeover) Activate() (connections, links int) { return t.stage.activate() }

// Late takes over what the old process finishes after the freeze. It returns when
// the old process has nothing left, and closes the channel. The loops run.
func (t *Takeover) Late() error {
	defer t.channel.Close()
	return t.channel.Late(t.stage.late)
}
