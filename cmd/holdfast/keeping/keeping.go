// Package keeping is the gateway's side of its keeper: what it takes over from a process
// that has died, and what it gives to the keeper for the next.
package keeping

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/cmd/holdfast/admin"
	"holdfast/cmd/holdfast/credentials"
	"holdfast/cmd/holdfast/gate"
	"holdfast/cmd/holdfast/metrics"
	"holdfast/cmd/holdfast/shard"
	"holdfast/cmd/holdfast/upgrade"
	"holdfast/unixipc/journal"
	"holdfast/unixipc/keep"

	"golang.org/x/sys/unix"
)

// Theory of operation: the gateway and its keeper
//
// A keeper (holdfast keep) has a duplicate of each socket, and the memory in which the
// shard writes its state down. The gateway is in one of these states:
//
//	none      no keeper is configured, and nothing of this costs anything
//	kept      a crash of this process drops nobody: the next one goes on
//	unkept    the keeper is gone, or was never there: a crash drops everybody, as
//	          without one. It is looked for each seekInterval
//
// At the start, a gateway that no other one has started claims what the keeper has
// (Recover), before it accepts anybody. In an upgrade the new process goes on with the
// connection of the old one (package upgrade); meanwhile nobody looks for a keeper: it
// could take the end of the old process's connection for the end of its owner.
type Keeping struct {
	Path     string // "": none is configured
	Shard    *shard.Shard
	Log      *slog.Logger
	Gate     *gate.Gate
	Counters *metrics.Counters
	Tickets  *credentials.Tickets // nil: no TLS

	up      atomic.Bool
	seeks   atomic.Bool // a goroutine looks for a keeper
	owned   atomic.Bool // once: what a keeper has may be this process's own
	seeking sync.Mutex  // held while a keeper is looked for, and by Hold
}

// Up reports whether a crash closes nothing.
func (k *Keeping) Up() bool { return k.up.Load() }

// Hold has nobody look for a keeper until release is called: an upgrade is under way.
func (k *Keeping) Hold() (release func()) {
	k.seeking.Lock()
	return k.seeking.Unlock
}

// TookOver notes what an upgrade has brought.
func (k *Keeping) TookOver() {
	if k.Path == "" {
		return
	}
	k.owned.Store(true) // if the old process had a keeper
	if k.up.Store(k.Shard.Kept()); !k.Up() {
		k.lost(errors.New("the old process had none"))
	}
}

// Lost is what a shard calls when its keeper is gone; nil without one configured.
func (k *Keeping) Lost() func(error) {
	if k.Path == "" {
		return nil
	}
	return k.lost
}

// State is what operators see; see admin.Status.
func (k *Keeping) State() string {
	switch {
	case k.Path == "":
		return ""
	case k.up.Load():
		return admin.KeeperUp
	}
	return admin.KeeperGone
}

const (
	claimTime     = 15 * time.Second // the process before may be dying
	seekInterval  = time.Second
	claimInterval = 100 * time.Millisecond
	fillInterval  = 5 * time.Millisecond
)

// Recover claims what the keeper has, and goes on from what a process has left there.
// Without a keeper the gateway serves as if none was configured, and looks for one.
func (k *Keeping) Recover() error {
	if k.Path == "" {
		return nil
	}
	began := time.Now()
	owner, found, err := keep.Claim(k.Path, claimTime)
	for refused := (*keep.RefusedError)(nil); errors.As(err, &refused) && time.Since(began) < claimTime; {
		time.Sleep(claimInterval) // the process before is dying, and takes its time
		owner, found, err = keep.Claim(k.Path, claimTime)
	}
	if err != nil {
		k.lost(err)
		return nil
	}
	j, err := journal.New()
	if err != nil {
		return err
	}
	out, err := upgrade.Recover(found, k.Shard, j, owner, k.lost, k.Counters, k.Tickets)
	if err != nil {
		return err
	}
	k.up.Store(k.Shard.Kept())
	k.owned.Store(true)
	if out.Empty != "" {
		k.Log.Error("what the gateway before has left is not taken over: its chargers are closed", "reason", out.Empty, "sockets", len(found.Items))
		return nil
	}
	switch {
	case out.ByOrder:
		k.Log.Info("restarted: the chargers of the gateway before stay", "connections", out.Connections, "links", out.Links, "took", time.Since(began).Round(time.Microsecond).String())
	case !out.Nothing:
		k.Log.Warn("recovered: the gateway before has died, its chargers stay", "connections", out.Connections, "links", out.Links, "lost", out.Lost,
			"culprits", out.Culprits, "crashes", out.Crashes, "took", time.Since(began).Round(time.Microsecond).String())
		k.Counters.Recovered()
	}
	return nil
}

// lost is called when the keeper is gone.
func (k *Keeping) lost(why error) {
	k.up.Store(false)
	k.Log.Error("no keeper: a crash of the gateway would close every charger", "keeper", k.Path, "reason", why.Error())
	if k.seeks.CompareAndSwap(false, true) {
		go k.seek()
	}
}

// seek looks for a keeper until there is one, or the gateway ends.
func (k *Keeping) seek() {
	for !k.Up() && !k.Gate.Over() {
		time.Sleep(seekInterval)
		k.seeking.Lock()
		err := k.fill()
		k.seeking.Unlock()
		if err == nil {
			k.Log.Info("kept: a crash of the gateway drops no charger from here on", "keeper", k.Path)
		}
	}
	k.seeks.Store(false)
	if !k.Up() && !k.Gate.Over() && k.seeks.CompareAndSwap(false, true) {
		go k.seek() // it was lost at this very moment
	}
}

// errLost says that the keeper has gone again.
var errLost = errors.New("the keeper has gone again")

// clear has the keeper drop what it has. This process has been serving without it: what
// was its own it serves on; what another one has left is ended, for its chargers to come
// again.
func (k *Keeping) clear(owner *keep.Owner, items []keep.Item) error {
	var ids []uint64
	for _, it := range items {
		ids = append(ids, it.ID)
		if k.owned.Load() {
			_ = unix.Close(it.FD)
		} else {
			_ = shard.CloseFD(it.FD)
		}
	}
	for end := time.Now().Add(claimTime); len(ids) > 0; {
		n, err := owner.Drop(ids)
		if err != nil {
			return err
		}
		if ids = ids[n:]; n == 0 {
			if time.Now().After(end) {
				return keep.ErrBusy
			}
			time.Sleep(fillInterval)
		}
	}
	return nil
}

// fill gives a keeper everything.
func (k *Keeping) fill() error {
	owner, found, err := keep.Claim(k.Path, seekInterval)
	if err != nil {
		return err
	}
	if found.Memory >= 0 {
		_ = unix.Close(found.Memory)
	}
	if err := k.clear(owner, found.Items); err != nil {
		_ = owner.Close()
		return err
	}
	j, err := journal.New()
	if err != nil {
		_ = owner.Close()
		return err
	}
	done := make(chan error, 1)
	s := k.Shard
	s.Loop.Post(func() {
		if err := s.KeepWith(j, owner, k.lost); err != nil {
			j.Close()
			_ = owner.Close()
			done <- err
			return
		}
		if s.Own() != nil {
			done <- errLost
			return
		}
		done <- nil
	})
	if err := <-done; err != nil {
		return err
	}
	k.owned.Store(true)
	for !k.Gate.Over() {
		time.Sleep(fillInterval)
		ctx, cancel := context.WithTimeout(context.Background(), claimTime)
		lost, err := shard.Ask(ctx, s, func() bool {
			waiting, kept := s.Unkept()
			if kept && waiting == 0 {
				k.up.Store(true) // on the loop, as lost
			}
			return !kept
		})
		cancel()
		switch {
		case err == nil && lost:
			return errLost
		case k.up.Load():
			return nil
		}
	}
	return errLost
}
