package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"holdfast/cmd/holdfast/admin"
	"holdfast/cmd/holdfast/systemd"
	"holdfast/conn"
	"holdfast/unixipc/handoff"

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

// upgrade is one hand-over, seen from the old process.
type upgrade struct {
	g     *gateway
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

// errGone says that the child has become active and then died: nobody owns the
// connections any more.
var errGone = errors.New("the new process took over and then died")

// upgrade replaces this process by the binary at its path. After nil this
// process has nothing left to do but to exit. After an error it goes on as if
// nothing had been asked, unless the error is errGone.
func (g *gateway) upgrade(tell func(admin.Progress)) error {
	u := &upgrade{g: g, began: time.Now()}
	u.tell = func(p admin.Progress) {
		p.Seconds = time.Since(u.began).Seconds()
		tell(p)
	}
	err := u.run()
	if err == nil || errors.Is(err, errGone) {
		return err
	}
	why := u.rollBack(err)
	last := admin.UpgradeReport{
		At: u.began, Outcome: admin.OutcomeRolledBack, Reason: why.Error(),
		TookSeconds: time.Since(u.began).Seconds(), Connections: g.worlds[0].held.Load(),
	}
	pause := time.Duration(0)
	if u.frozen {
		pause = time.Since(u.froze)
	}
	g.upgraded(last, pause)
	return why
}

func (u *upgrade) run() error {
	defer debug.SetGCPercent(debug.SetGCPercent(gcPercentUpgrade))
	if err := u.spawn(); err != nil {
		return err
	}
	u.old.SetLimit(u.g.cfg.UpgradeTimeout)
	hello, err := u.old.Hello()
	if err != nil {
		return err
	}
	version, err := hello.Speak([]uint8{conn.StateVersion})
	if err != nil {
		return err
	}
	held := u.g.worlds[0].held.Load()
	started := time.Now()
	u.g.tally.Phase("start", started.Sub(u.began))
	u.tell(admin.Progress{Phase: "started", Text: fmt.Sprintf("the new process (%s) has started", hello.Program)})
	note, _ := json.Marshal(beginNote{Loops: len(u.g.worlds), Connections: held, PID: os.Getpid()})
	if err := u.old.Begin(handoff.Begin{Program: u.g.version, Version: version, Note: note}); err != nil {
		return err
	}
	if err := u.precopy(held); err != nil {
		return err
	}
	u.old.SetLimit(u.g.cfg.FreezeTimeout)
	u.froze = time.Now()
	u.g.tally.Phase("precopy", u.froze.Sub(started))
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
	for _, w := range u.g.worlds {
		for first, more := true, true; more; first = false {
			var items []handoff.Item
			err := onLoop(w, func() (err error) {
				if first {
					items, err = w.beginExport(&u.ids)
				} else {
					items, more, err = w.exportSlice(&u.ids)
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
		left := 0
		for _, w := range u.g.worlds {
			var c changes
			err := onLoop(w, func() (err error) {
				c, err = w.exportChanges(&u.ids, false)
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
		if left <= fewChanges {
			break
		}
	}
	return nil
}

const (
	// sliceRest follows each slice of the pre-copy: both processes together must
	// leave the messages of chargers their share of the CPU.
	sliceRest = 2 * time.Millisecond
	// maxRounds of changes are sent before the freeze; with fewer than
	// fewChanges in one, another would find about as many again.
	maxRounds  = 4
	fewChanges = 64
)

func closeDuplicates(items []handoff.Item) {
	for _, it := range items {
		if it.FD >= 0 {
			_ = unix.Close(it.FD)
		}
	}
}

// onLoop runs f on w's loop and waits for it.
func onLoop(w *world, f func() error) error {
	done := make(chan error, 1)
	w.loop.Post(func() { done <- f() })
	return <-done
}

// freeze stops accepting and all loops, each behind a turn.
func (u *upgrade) freeze() error {
	u.tell(admin.Progress{Phase: "freeze"})
	g := u.g
	g.gate.Close()
	u.thaw = make(chan bool, len(g.worlds))
	parked := make(chan struct{}, len(g.worlds))
	for _, w := range g.worlds {
		w.loop.Post(func() {
			w.loop.Between(func() {
				parked <- struct{}{}
				if !<-u.thaw {
					select {} // the state is another process's now
				}
			})
		})
	}
	timeout := time.NewTimer(g.cfg.FreezeTimeout)
	defer timeout.Stop()
	for range g.worlds {
		select {
		case <-parked:
		case <-timeout.C:
			for range g.worlds {
				u.thaw <- true
			}
			g.gate.Reopen()
			return fmt.Errorf("the loops did not stop within %v", g.cfg.FreezeTimeout)
		}
	}
	u.frozen = true
	// What loops had posted to each other belongs to the state.
	for again := true; again; {
		again = false
		for _, w := range g.worlds {
			again = w.loop.RunPosted() || again
		}
	}
	return nil
}

// final sends what changed, and has the new process verify everything.
func (u *upgrade) final() error {
	for _, w := range u.g.worlds {
		c, err := w.exportChanges(&u.ids, true)
		if err != nil {
			return err
		}
		if err := c.send(u.old); err != nil {
			return err
		}
	}
	if c := u.g.door.certificates; c != nil {
		keys := appendItem(nil, itemTickets, 0, c.Tickets.Append(nil), nil)
		if err := u.old.Put(handoff.Item{ID: uint64(u.ids.Add(1)), FD: -1, State: keys}); err != nil {
			return err
		}
	}
	if err := u.old.Put(frozenItem(u.froze, u.g.exportCounters(), &u.ids)); err != nil {
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
	u.g.log.Error("upgrade in doubt: ending the new process", "err", why)
	u.kill()
	active, err := u.old.SawActive()
	if active || err != nil {
		return fmt.Errorf("%w: %w", errGone, why)
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
	for _, w := range u.g.worlds {
		if u.frozen {
			w.endExport()
			continue
		}
		done := make(chan struct{})
		w.loop.Post(func() {
			w.endExport()
			close(done)
		})
		<-done
	}
	if u.frozen {
		for range u.g.worlds {
			u.thaw <- true
		}
		u.g.gate.Reopen()
	}
	return why
}

// committed lets what was under way at the freeze follow.
func (u *upgrade) committed() error {
	g := u.g
	u.tell(admin.Progress{Phase: "active", Text: fmt.Sprintf("the new process has taken over; pause %.1f ms", float64(u.pause.Microseconds())/1000)})
	for _, pid := range children() {
		if err := g.watch.HandedOver(pid); err != nil {
			g.log.Warn("the service manager did not hear which process serves now", "err", err)
		}
	}
	u.old.SetLimit(g.cfg.UpgradeTimeout)
	for _, w := range g.worlds {
		w.late = &handOverLate{old: u.old, ids: &u.ids}
		w.relay.MoveQuestions()
	}
	deadline := time.Now().Add(g.cfg.HandshakeTimeout + helloTimeout)
	for quiet := false; !quiet && time.Now().Before(deadline); {
		if quiet = g.gate.Quiet(); !quiet {
			time.Sleep(lateInterval)
		}
		for _, w := range g.worlds {
			w.loop.RunPosted()
		}
	}
	if err := u.old.End(); err != nil {
		g.log.Warn("end of the hand-over", "err", err)
	}
	defer u.old.Close()
	// The end of a main process would be the end of the service.
	if err := g.watch.Barrier(systemd.BarrierTime); err != nil {
		g.log.Warn("the service manager did not hear which process serves now", "err", err)
	}
	alarm := time.AfterFunc(g.cfg.UpgradeTimeout, func() {
		g.log.Error("the new process has taken over, but does not serve: only it can; look at it, or restart the service", "pids", children())
	})
	defer alarm.Stop()
	if u.await(); u.dead != nil {
		return fmt.Errorf("%w: %w", errGone, u.dead)
	}
	return nil
}

// lateInterval is how often handshakes that were in progress at the freeze are
// looked after.
const lateInterval = 5 * time.Millisecond
