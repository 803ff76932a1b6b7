package upgrade

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"holdfast/cmd/holdfast/admin"
	"holdfast/cmd/holdfast/config"
	"holdfast/cmd/holdfast/credentials"
	"holdfast/cmd/holdfast/gate"
	"holdfast/cmd/holdfast/metrics"
	"holdfast/cmd/holdfast/shard"
	"holdfast/cmd/holdfast/systemd"
	"holdfast/conn"
	"holdfast/unixipc/handoff"

	"github.com/cloudflare/tableflip"
	"golang.org/x/sys/unix"
)

// handoffFile is the name under which the new process inherits its end.
const handoffFile = "handoff"

// beginNote is what Begin carries for us.
type beginNote struct {
	Loops       int
	Connections int64
	PID         int
}

// Process is what an upgrade needs of the process around it.
type Process struct {
	Config   *config.Config
	Version  string
	Log      *slog.Logger
	Flip     *tableflip.Upgrader
	Shards   []*shard.Shard
	Gate     *gate.Gate
	Reporter *systemd.Reporter
	Counters *metrics.Counters
	Tickets  *credentials.Tickets // nil: no TLS
	Counted  func() []byte        // what was counted, encoded, while the loops stand still
	Ended    func(last admin.UpgradeReport, pause time.Duration)
}

func (p *Process) held() int64 { return p.Shards[0].Held.Load() }

// upgrade is one hand-over, seen from the old process.
type upgrade struct {
	g     *Process
	parts []*exporter // one for each shard
	old   *handoff.Old
	tell  func(admin.Progress)
	began time.Time
	ids   atomic.Uint32

	child  chan error // tableflip's word, once: the child is ready (nil), or dead; nil channel: not started
	ready  bool       // the word was that it is ready
	dead   error      // why the child is dead, once that is known
	killed bool       // by this process
	frozen bool
	froze  time.Time
	thaw   chan bool // true: go on; false: it is all handed over
	pause  time.Duration
}

// ErrGone says that the child has become active and then died: nobody owns the
// connections any more.
var ErrGone = errors.New("the new process took over and then died")

// Upgrade replaces this process by the binary at its path. After nil this
// process has nothing left to do but to exit. After an error it goes on as if
// nothing had been asked, unless the error is errGone.
func (g *Process) Upgrade(tell func(admin.Progress)) error {
	u := &upgrade{g: g, began: time.Now()}
	for _, w := range g.Shards {
		u.parts = append(u.parts, &exporter{Shard: w, ids: &u.ids, links: map[*shard.Link]uint64{}})
	}
	u.tell = func(p admin.Progress) {
		p.Seconds = time.Since(u.began).Seconds()
		tell(p)
	}
	err := u.run()
	if err == nil || errors.Is(err, ErrGone) {
		return err
	}
	why := u.rollBack(err)
	last := admin.UpgradeReport{
		At: u.began, Outcome: admin.OutcomeRolledBack, Reason: why.Error(),
		TookSeconds: time.Since(u.began).Seconds(), Connections: g.held(),
	}
	pause := time.Duration(0)
	if u.frozen {
		pause = time.Since(u.froze)
	}
	g.Ended(last, pause)
	return why
}

func (u *upgrade) run() error {
	defer debug.SetGCPercent(debug.SetGCPercent(GCPercent))
	if err := u.spawn(); err != nil {
		return err
	}
	u.old.SetLimit(u.g.Config.UpgradeTimeout)
	hello, err := u.old.Hello()
	if err != nil {
		return err
	}
	version, err := hello.Speak([]uint8{conn.StateVersion})
	if err != nil {
		return err
	}
	for _, x := range u.parts {
		x.adds = hello.Additions
	}
	held := u.g.held()
	started := time.Now()
	u.g.Counters.Phase("start", started.Sub(u.began))
	u.tell(admin.Progress{Phase: "started", Text: fmt.Sprintf("the new process (%s) has started", hello.Program)})
	note, _ := json.Marshal(beginNote{Loops: len(u.g.Shards), Connections: held, PID: os.Getpid()})
	if err := u.old.Begin(handoff.Begin{Program: u.g.Version, Version: version, Note: note}); err != nil {
		return err
	}
	if err := u.precopy(held); err != nil {
		return err
	}
	u.old.SetLimit(u.g.Config.FreezeTimeout)
	u.froze = time.Now()
	u.g.Counters.Phase("precopy", u.froze.Sub(started))
	if err := u.freeze(); err != nil {
		return err
	}
	if err := u.final(); err != nil {
		return err
	}
	u.tell(admin.Progress{Phase: "prepared"})
	err = u.old.Commit()
	u.pause = time.Since(u.froze)
	if err != nil {
		return u.inDoubt(err)
	}
	return u.committed()
}

// precopy sends the links and the connections while the loops go on, and then,
// a few times, what changed meanwhile: what is left for the freeze depends on
// how much changes, and not on how many connections there are.
func (u *upgrade) precopy(held int64) error {
	done := int64(0)
	for _, x := range u.parts {
		for first, more := true, true; more; first = false {
			var items []handoff.Item
			err := onLoop(x.Shard, func() (err error) {
				if first {
					items, err = x.begin()
				} else {
					items, more, err = x.slice()
				}
				return err
			})
			if err == nil {
				err = (&changes{puts: items}).send(u.old)
			}
			closeDuplicates(items)
			if err != nil {
				return err
			}
			if err := u.old.Flush(); err != nil {
				return err
			}
			if !first {
				done += int64(len(items))
				u.tell(admin.Progress{Phase: "precopy", Done: done, Total: held})
			}
			time.Sleep(sliceRest)
		}
	}
	for range maxRounds {
		left, before := 0, u.old.Bytes()
		for _, x := range u.parts {
			var c changes
			err := onLoop(x.Shard, func() (err error) {
				c, err = x.changes(false)
				return err
			})
			if err == nil {
				err = c.send(u.old)
			}
			closeDuplicates(c.puts)
			closeDuplicates(c.more)
			if err != nil {
				return err
			}
			left += c.len()
		}
		if err := u.old.Flush(); err != nil {
			return err
		}
		if left <= fewChanges && u.old.Bytes()-before <= fewBytes {
			break
		}
	}
	return nil
}

const (
	// sliceRest follows each slice of the pre-copy: both processes together must
	// leave the messages of chargers their share of the CPU.
	sliceRest = 2 * time.Millisecond
	// maxRounds of changes are sent before the freeze; with no more than
	// fewChanges and fewBytes in one, another would find about as much again.
	maxRounds  = 4
	fewChanges = 64
	fewBytes   = 256 << 10
)

func closeDuplicates(items []handoff.Item) {
	for _, it := range items {
		if it.FD >= 0 {
			_ = unix.Close(it.FD)
		}
	}
}

// onLoop runs f on w's loop and waits for it.
func onLoop(w *shard.Shard, f func() error) error {
	done := make(chan error, 1)
	w.Loop.Post(func() { done <- f() })
	return <-done
}

// freeze stops accepting and all loops, each behind a turn.
func (u *upgrade) freeze() error {
	u.tell(admin.Progress{Phase: "freeze"})
	g := u.g
	g.Gate.Close()
	u.thaw = make(chan bool, len(g.Shards))
	parked := make(chan struct{}, len(g.Shards))
	for _, w := range g.Shards {
		w.Loop.Post(func() {
			w.Loop.Between(func() {
				parked <- struct{}{}
				if !<-u.thaw {
					select {} // the state is another process's now
				}
			})
		})
	}
	timeout := time.NewTimer(g.Config.FreezeTimeout)
	defer timeout.Stop()
	for range g.Shards {
		select {
		case <-parked:
		case <-timeout.C:
			for range g.Shards {
				u.thaw <- true
			}
			g.Gate.Reopen()
			return fmt.Errorf("the loops did not stop within %v", g.Config.FreezeTimeout)
		}
	}
	u.frozen = true
	// What loops had posted to each other belongs to the state.
	for again := true; again; {
		again = false
		for _, w := range g.Shards {
			again = w.Loop.RunPosted() || again
		}
	}
	return nil
}

// final sends what changed, and has the new process verify everything.
func (u *upgrade) final() error {
	for _, x := range u.parts {
		c, err := x.changes(true)
		if err != nil {
			return err
		}
		if err := c.send(u.old); err != nil {
			return err
		}
	}
	if t := u.g.Tickets; t != nil {
		keys := appendItem(nil, itemTickets, 0, t.Append(nil), nil)
		if err := u.old.Put(handoff.Item{ID: uint64(u.ids.Add(1)), FD: -1, State: keys}); err != nil {
			return err
		}
	}
	if err := u.old.Put(frozenItem(u.froze, u.g.Counted(), &u.ids)); err != nil {
		return err
	}
	return u.old.Seal()
}

// inDoubt resolves a COMMIT that was not answered in time: only if the child is
// dead without having become active, everything is still ours.
func (u *upgrade) inDoubt(why error) error {
	// The time may have been this process's own: it was stopped, or starved.
	if active, err := u.old.SawActive(); active && err == nil {
		return u.committed()
	}
	u.g.Log.Error("upgrade in doubt: ending the new process", "err", why)
	u.kill()
	active, err := u.old.SawActive()
	if active || err != nil {
		return fmt.Errorf("%w: %w", ErrGone, why)
	}
	return why
}

// rollBack ends the child, and goes on as before.
func (u *upgrade) rollBack(why error) error {
	var refused *handoff.RefusedError
	if !errors.As(why, &refused) && !u.killed && u.ended() {
		why = u.dead // the channel only shows that it is dead; here is of what
	}
	u.kill()
	if u.old != nil {
		u.old.Close()
	}
	for _, x := range u.parts {
		if u.frozen {
			x.end()
			continue
		}
		done := make(chan struct{})
		x.Loop.Post(func() {
			x.end()
			close(done)
		})
		<-done
	}
	if u.frozen {
		for range u.g.Shards {
			u.thaw <- true
		}
		u.g.Gate.Reopen()
	}
	return why
}

// committed lets what was under way at the freeze follow.
func (u *upgrade) committed() error {
	g := u.g
	u.tell(admin.Progress{Phase: "active", Text: fmt.Sprintf("the new process has taken over; pause %.1f ms", float64(u.pause.Microseconds())/1000)})
	for _, pid := range Children() {
		if err := g.Reporter.HandedOver(pid); err != nil {
			g.Log.Warn("the service manager did not hear which process serves now", "err", err)
		}
	}
	u.old.SetLimit(g.Config.UpgradeTimeout)
	for _, w := range g.Shards {
		w.Successor = &handOverLate{old: u.old, ids: &u.ids}
		w.Relay.MoveQuestions()
	}
	deadline := time.Now().Add(g.Config.HandshakeTimeout + shard.HelloTimeout)
	for quiet := false; !quiet && time.Now().Before(deadline); {
		if quiet = g.Gate.Quiet(); !quiet {
			time.Sleep(lateInterval)
		}
		for _, w := range g.Shards {
			w.Loop.RunPosted()
		}
	}
	if err := u.old.End(); err != nil {
		g.Log.Warn("end of the hand-over", "err", err)
	}
	defer u.old.Close()
	// The end of a main process would be the end of the service.
	if err := g.Reporter.Barrier(systemd.BarrierTime); err != nil {
		g.Log.Warn("the service manager did not hear which process serves now", "err", err)
	}
	alarm := time.AfterFunc(g.Config.UpgradeTimeout, func() {
		g.Log.Error("the new process has taken over, but does not serve: only it can; look at it, or restart the service", "pids", Children())
	})
	defer alarm.Stop()
	if u.await(); u.dead != nil {
		return fmt.Errorf("%w: %w", ErrGone, u.dead)
	}
	return nil
}

// lateInterval is how often handshakes that were in progress at the freeze are
// looked after.
const lateInterval = 5 * time.Millisecond
