package upgrade

// Theory of operation: the process that is replaced
//
// An upgrade is in one of these states. Everything before the COMMIT can be
// undone; nothing behind it can.
//
//	started     the new process runs, and has said HELLO and received BEGIN
//	pre-copied  it has nearly everything; the loops here still turn
//	frozen      nobody accepts, and each loop here stands still behind a turn
//	sealed      it has received everything, and a checksum of everything
//	prepared    it has verified everything: nothing is left there that could fail
//	committed   it has read COMMIT and said ACTIVE; everything is its own
//	in doubt    COMMIT was sent, and ACTIVE did not come in time
//	rolled back it is dead, and this process goes on as if nothing had been asked
//	gone        it became active and died: nobody owns the connections
//
//	started ──▶ pre-copied ──▶ frozen ──▶ sealed ──▶ prepared ── COMMIT, ACTIVE ──▶ committed ──▶ exit
//	   │             │            │          │           │                           ▲      │
//	   │             │            │          │         COMMIT, silence      ACTIVE   │      │ it dies
//	   │             │            │          │           ▼                    after  │      │ before it
//	   └─────────────┴────────────┴──────────┤        in doubt ───────────────all ───┘      │ is ready
//	                                         ▼           │  │                             ▼
//	                                    rolled back ◀────┘  └── dead, ACTIVE was seen ──▶ gone
//	                                         dead, no ACTIVE
//
// Who may move it. Only the goroutine of Upgrade, one step after the other. The
// new process moves it by what it says on the channel (HELLO, TOOK, PREPARED,
// ACTIVE), and back by REFUSED, by its death, or by a silence that reaches the limit
// of the step: UpgradeTimeout until the freeze, FreezeTimeout from there on. A loop
// that does not turn is waited for no longer than that either. Loops, handshakes
// and operators move nothing: loops park, the others wait at the gate.
//
// What holds in each state:
//
//   - Until the freeze the shards belong to their loops. The upgrade reaches them
//     by posting, and sends duplicates of fds that the loops may close meanwhile.
//   - From the freeze on the shards belong to the goroutine of Upgrade. A loop
//     that is let go on (rolled back) finds its state as it was.
//   - After COMMIT this process must not touch a connection until it is certain
//     that the new one is dead and never became active. In doubt it therefore kills
//     the new process first, and then reads what is left on the channel.
//   - Committed, the loops stay parked until the process exits. Handshakes that
//     were under way at the freeze end here, and are sent (see late.go).
//
// docs/handoff.md lists what follows from each fault at each of these states.

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"holdfast/cmd/holdfast/admin"
	"holdfast/cmd/holdfast/item"
	"holdfast/cmd/holdfast/shard"
	"holdfast/conn"
	"holdfast/unixipc/handoff"
)

// upgrade is one hand-over, seen from the old process.
type upgrade struct {
	process  *Process
	parts    []*exporter // one for each shard
	old      *handoff.Old
	progress func(admin.Progress)
	began    time.Time
	ids      atomic.Uint32 // of items
	started  time.Time     // when the new process had started
	held     int64         // connections at that moment
	child    child
	freeze   freeze
	pause    time.Duration // until ACTIVE
}

// ErrGone says that the new process has become active and then died: nobody owns
// the connections any more.
var ErrGone = errors.New("the new process took over and then died")

// Upgrade replaces this process by the binary at its path. After nil this
// process has nothing left to do but to exit. After an error it goes on as if
// nothing had been asked, unless the error is ErrGone. progress is called with each
// step.
func (p *Process) Upgrade(progress func(admin.Progress)) error {
	u := &upgrade{process: p, began: time.Now(), freeze: freeze{shards: p.Shards, gate: p.Gate}}
	for _, s := range p.Shards {
		u.parts = append(u.parts, newExporter(s, &u.ids, max(1, p.Slice)))
	}
	u.progress = func(at admin.Progress) {
		at.Seconds = time.Since(u.began).Seconds()
		progress(at)
	}
	err := u.run()
	if err == nil || errors.Is(err, ErrGone) {
		return err
	}
	why := u.rollBack(err)
	report := admin.UpgradeReport{
		At: u.began, Outcome: admin.OutcomeRolledBack, Reason: why.Error(),
		TookSeconds: time.Since(u.began).Seconds(), Connections: p.held(),
	}
	pause := time.Duration(0)
	if u.freeze.holds {
		pause = time.Since(u.freeze.began)
	}
	p.Record(report, pause)
	return why
}

// run goes from one state to the next. An error means that it goes no further.
func (u *upgrade) run() error {
	defer RestGC()()
	p := u.process
	if err := u.start(); err != nil {
		return err
	}
	done := int64(0)
	err := precopy(u.parts, u.old, u.began.Add(p.Config.UpgradeTimeout), func(connections int) {
		done += int64(connections)
		u.progress(admin.Progress{Phase: "precopy", Done: done, Total: u.held})
	})
	if err != nil {
		return err
	}
	u.old.SetLimit(p.Config.FreezeTimeout)
	u.freeze.began = time.Now()
	p.Counters.Phase("precopy", u.freeze.began.Sub(u.started))
	u.progress(admin.Progress{Phase: "freeze"})
	if err := u.freeze.begin(p.Config.FreezeTimeout); err != nil {
		return err
	}
	if err := u.seal(); err != nil {
		return err
	}
	u.progress(admin.Progress{Phase: "prepared"})
	err = u.old.Commit()
	u.pause = time.Since(u.freeze.began)
	if err != nil {
		return u.inDoubt(err)
	}
	return u.committed()
}

// start starts the new process, which inherits the listeners and its end of the
// channel, and waits until both know which state is spoken.
func (u *upgrade) start() error {
	p := u.process
	u.progress(admin.Progress{Phase: "start", Text: "starting " + os.Args[0]})
	channel, err := openChannel(p.Flip)
	if err != nil {
		return err
	}
	u.old = handoff.NewOld(channel, p.Config.UpgradeTimeout)
	u.child.start(p.Flip, func() {
		// This process holds a duplicate of the child's end, so its death does
		// not show on the channel. What it has left there is still read.
		_ = u.old.CloseRead()
	})
	hello, err := u.old.Hello()
	if err != nil {
		return err
	}
	version, err := hello.Speak([]uint8{conn.StateVersion})
	if err != nil {
		return err
	}
	for _, e := range u.parts {
		e.to = hello
	}
	u.held, u.started = p.held(), time.Now()
	p.Counters.Phase("start", u.started.Sub(u.began))
	u.progress(admin.Progress{Phase: "started", Text: fmt.Sprintf("the new process (%s) has started", hello.Program)})
	note, _ := json.Marshal(beginNote{Loops: len(p.Shards), Connections: u.held, PID: os.Getpid(), Instance: p.Shards[0].Relay.Instance()})
	return u.old.Begin(handoff.Begin{Program: p.Version, Version: version, Note: note})
}

// seal sends what has changed since the last round, and waits until the new
// process has verified everything.
func (u *upgrade) seal() error {
	for _, e := range u.parts {
		c, err := e.changes(true)
		if err != nil {
			return err
		}
		if err := c.send(u.old); err != nil {
			return err
		}
		if drops := e.shard.Drops(); e.toKeeper() && len(drops) > 0 {
			if err := u.put(appendDrops(nil, drops)); err != nil {
				return err
			}
		}
	}
	if t := u.process.Tickets; t != nil {
		if err := u.put(item.Append(nil, itemTickets, 0, t.Append(nil), nil)); err != nil {
			return err
		}
	}
	last := make([]uint32, len(u.process.Shards))
	for i, s := range u.process.Shards {
		last[i] = s.Relay.LastLink()
	}
	if err := u.put(appendLastLinks(nil, last)); err != nil {
		return err
	}
	if err := u.put(appendFrozen(nil, u.freeze.began, u.process.EncodeCounters())); err != nil {
		return err
	}
	return u.old.Seal()
}

// put sends an item that is new and has no file descriptor.
func (u *upgrade) put(state []byte) error {
	return u.old.Put(handoff.Item{ID: uint64(u.ids.Add(1)), FD: -1, State: state})
}

// inDoubt resolves a COMMIT that was not answered in time: only if the child is
// dead without having become active, everything is still ours.
func (u *upgrade) inDoubt(why error) error {
	// The time may have been this process's own: it was stopped, or starved.
	if active, err := u.old.SawActive(); active && err == nil {
		return u.committed()
	}
	u.process.Log.Error("upgrade in doubt: ending the new process", "err", why)
	u.child.kill()
	active, err := u.old.SawActive()
	if active || err != nil {
		return fmt.Errorf("%w: %w", ErrGone, why)
	}
	return why
}

// rollBack ends the child, and lets everything go on as before. It returns the
// reason for operators.
func (u *upgrade) rollBack(why error) error {
	var refused *handoff.RefusedError
	if !errors.As(why, &refused) && !u.child.killed && u.child.ended() {
		why = u.child.dead // the channel only shows that it is dead; here is of what
	}
	u.child.kill()
	if u.old != nil {
		u.old.Close()
	}
	for _, e := range u.parts {
		if u.freeze.holds {
			e.end()
			continue
		}
		// Nobody waits for it: the loop may hang, and what another upgrade
		// posts comes behind it.
		e.shard.Loop.Post(e.end)
	}
	if u.freeze.holds {
		u.freeze.end()
	}
	return why
}

// committed lets what was under way at the freeze follow, and returns when the
// new process is ready.
func (u *upgrade) committed() error {
	p := u.process
	for _, e := range u.parts {
		// At once: while two processes have the connection, no other can claim what the
		// new one leaves if it dies.
		e.shard.Disown(e.toKeeper())
	}
	u.progress(admin.Progress{Phase: "active", Text: fmt.Sprintf("the new process has taken over; pause %.1f ms", float64(u.pause.Microseconds())/1000)})
	for _, pid := range Children() {
		if err := p.Reporter.HandedOver(pid); err != nil {
			p.Log.Warn("the service manager did not hear which process serves now", "err", err)
		}
	}
	u.old.SetLimit(p.Config.UpgradeTimeout)
	u.sendLate()
	if err := u.old.End(); err != nil {
		p.Log.Warn("end of the hand-over", "err", err)
	}
	defer u.old.Close()
	// The end of a main process would be the end of the service.
	if err := p.Reporter.Barrier(); err != nil {
		p.Log.Warn("the service manager did not hear which process serves now", "err", err)
	}
	alarm := time.AfterFunc(p.Config.UpgradeTimeout, func() {
		p.Log.Error("the new process has taken over, but does not serve: only it can; look at it, or restart the service", "pids", Children())
	})
	defer alarm.Stop()
	if u.child.await(); u.child.dead != nil {
		return fmt.Errorf("%w: %w", ErrGone, u.child.dead)
	}
	return nil
}

// sendLate runs what handshakes post to the frozen loops until none is under way.
func (u *upgrade) sendLate() {
	p := u.process
	for _, s := range p.Shards {
		s.HandOver(&lateSender{old: u.old, ids: &u.ids, log: p.Log})
	}
	deadline := time.Now().Add(p.Config.HandshakeTimeout + shard.HelloTimeout)
	for quiet := false; !quiet && time.Now().Before(deadline); {
		if quiet = p.Gate.Quiet(); !quiet {
			time.Sleep(lateInterval)
		}
		for _, s := range p.Shards {
			s.Loop.RunPosted()
		}
	}
}

// lateInterval is how often handshakes that were in progress at the freeze are
// looked after.
const lateInterval = 5 * time.Millisecond
