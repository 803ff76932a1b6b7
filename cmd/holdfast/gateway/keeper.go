package gateway

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/cmd/holdfast/admin"
	"holdfast/cmd/holdfast/shard"
	"holdfast/cmd/holdfast/upgrade"
	"holdfast/unixipc/journal"
	"holdfast/unixipc/keep"
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
// (recoverAll), before it accepts anybody. In an upgrade the new process goes on with the
// connection of the old one (package upgrade); meanwhile nobody looks for a keeper: it
// could take the end of the old process's connection for the end of its owner.
type keeping struct {
	path    string // "": none is configured
	up      atomic.Bool
	seeking sync.Mutex // held while a keeper is looked for, and by an upgrade
}

// state is what operators see.
func (k *keeping) state() string {
	switch {
	case k.path == "":
		return ""
	case k.up.Load():
		return admin.KeeperUp
	}
	return admin.KeeperGone
}

const (
	claimTime    = 15 * time.Second // the process before may be dying
	seekInterval = time.Second
	fillInterval = 5 * time.Millisecond
)

// recoverAll claims what the keeper has, and goes on from what a process has left there.
// Without a keeper the gateway serves as if none was configured, and looks for one.
func (g *gateway) recoverAll() error {
	if g.keeping.path == "" {
		return nil
	}
	began := time.Now()
	owner, found, err := keep.Claim(g.keeping.path, claimTime)
	if err != nil {
		g.unkept(err)
		return nil
	}
	j, err := journal.New()
	if err != nil {
		return err
	}
	out, err := upgrade.Recover(found, g.shards[0], j, owner, g.unkept, g.counters, g.handshaker.tickets())
	if err != nil {
		return err
	}
	g.keeping.up.Store(g.shards[0].Kept())
	if out.Empty != "" {
		g.log.Error("what the gateway before has left is not taken over: its chargers are closed", "reason", out.Empty, "sockets", len(found.Items))
		return nil
	}
	switch {
	case out.ByOrder:
		g.log.Info("restarted: the chargers of the gateway before stay", "connections", out.Connections, "links", out.Links, "took", time.Since(began).Round(time.Microsecond).String())
	case found.Memory >= 0:
		g.log.Warn("recovered: the gateway before has died, its chargers stay", "connections", out.Connections, "links", out.Links, "lost", out.Lost,
			"culprits", out.Culprits, "crashes", out.Crashes, "took", time.Since(began).Round(time.Microsecond).String())
		g.counters.Recovered()
	}
	return nil
}

// unkept is called when the keeper is gone.
func (g *gateway) unkept(why error) {
	g.keeping.up.Store(false)
	g.log.Error("no keeper: a crash of the gateway would close every charger", "keeper", g.keeping.path, "reason", why.Error())
	go g.seekKeeper()
}

// seekKeeper looks for a keeper until there is one, or the gateway ends.
func (g *gateway) seekKeeper() {
	for !g.gate.Over() {
		time.Sleep(seekInterval)
		g.keeping.seeking.Lock()
		err := g.fillKeeper()
		g.keeping.seeking.Unlock()
		if errors.Is(err, errLost) {
			return // unkept has had another one begin
		}
		if err == nil {
			g.log.Info("kept: a crash of the gateway drops no charger from here on", "keeper", g.keeping.path)
			return
		}
	}
}

// errLost says that the keeper has gone again.
var errLost = errors.New("the keeper has gone again")

// errStays is why a keeper that has something is not taken.
var errStays = errors.New("the keeper has what another gateway has left")

// fillKeeper gives a keeper that has nothing everything.
func (g *gateway) fillKeeper() error {
	owner, found, err := keep.Claim(g.keeping.path, seekInterval)
	if err != nil {
		return err
	}
	for _, it := range found.Items {
		_ = shard.CloseFD(it.FD)
	}
	if len(found.Items) > 0 { // this process has been serving without it
		_ = owner.Close()
		return errStays
	}
	j, err := journal.New()
	if err != nil {
		_ = owner.Close()
		return err
	}
	done := make(chan error, 1)
	s := g.shards[0]
	s.Loop.Post(func() {
		if err := s.KeepWith(j, owner, g.unkept); err != nil {
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
	for !g.gate.Over() {
		time.Sleep(fillInterval)
		ctx, cancel := context.WithTimeout(context.Background(), claimTime)
		lost, err := shard.Ask(ctx, s, func() bool {
			waiting, kept := s.Unkept()
			if kept && waiting == 0 {
				g.keeping.up.Store(true) // on the loop, as unkept
			}
			return !kept
		})
		cancel()
		switch {
		case err == nil && lost:
			return errLost
		case g.keeping.up.Load():
			return nil
		}
	}
	return errLost
}
