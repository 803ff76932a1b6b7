package shard

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/conn"
	"holdfast/relay"
	"holdfast/unixipc/journal"
	"holdfast/unixipc/keep"
)

// maxNew is how many sockets a commit gives to the keeper: the others wait for the next,
// so that a keeper that has just started does not hold up the chargers.
const maxNew = 512

// maxBusy is how many milliseconds a keeper may be too busy to take a VALID.
const maxBusy = 1000

// laterInterval is when a commit looks again after sockets that the keeper has not got.
const laterInterval = 2 * time.Millisecond

// KeepWith has the shard's state written down in j, and its sockets kept by owner. unkept
// is called once if that ends because the keeper is gone. The loop stands still, or runs
// this itself.
func (s *Shard) KeepWith(j *journal.Journal, owner *keep.Owner, unkept func(error)) error {
	fd, err := unix.FcntlInt(uintptr(owner.FD()), unix.F_DUPFD_CLOEXEC, 3) // the loop closes its own
	if err != nil {
		return err
	}
	watch, err := s.Loop.Watch(fd, func(bool, bool, bool) { s.hearKeeper() })
	if err != nil {
		_ = unix.Close(fd)
		return err
	}
	s.saving = saving{
		journal: j, owner: owner, watch: watch, unkept: unkept,
		offline: map[*relay.Charger]journal.Slot{}, links: map[*Link]bool{},
		meta: Meta{Instance: s.Relay.Instance()},
	}
	s.Relay.Save(true)
	s.Loop.Save(j, s.commit)
	for _, l := range s.links.all {
		l.source.Settle(0, false)
		s.saving.links[l] = true
	}
	return nil
}

// KeeperFD is the connection to the keeper, which stays the shard's.
func (s *Shard) KeeperFD() int { return s.saving.owner.FD() }

// Unkept is how many connections the keeper has not got yet; kept: there is one.
func (s *Shard) Unkept() (n int, kept bool) {
	s.Loop.All(func(c *conn.Conn) {
		if !c.Kept() {
			n++
		}
	})
	return n, s.Kept()
}

// LeaveBehind stops the loop in a turn that notes that the process ends by order, and
// leaves everything to the keeper. It reports whether there is one.
func (s *Shard) LeaveBehind() bool {
	if !s.Kept() {
		return false
	}
	s.saving.meta.Left, s.saving.metaOld = true, true
	s.Loop.Again()
	s.Loop.Stop()
	return true
}

// Kept reports whether the state is written down.
func (s *Shard) Kept() bool { return s.saving.journal != nil }

// hearKeeper finds out that the keeper is gone.
func (s *Shard) hearKeeper() {
	if err := s.saving.owner.Err(); err != nil {
		s.loseKeeper(err)
	}
}

// loseKeeper goes on without.
func (s *Shard) loseKeeper(why error) {
	v := &s.saving
	if v.journal == nil {
		return
	}
	v.journal.Void() // before anything is written that it does not know of
	for _, l := range s.links.all {
		l.source.Settle(0, false)
	}
	s.Loop.Save(nil, nil)
	s.Relay.Save(false)
	v.watch.Release()
	v.journal.Close()
	_ = v.owner.Close()
	unkept := v.unkept
	s.saving = saving{}
	unkept(why)
}

// Leave has the keeper drop everything: this process ends in order, or another one goes on
// without a keeper. The loop has ended, or stands still.
func (s *Shard) Leave() {
	v := &s.saving
	if v.journal == nil {
		return
	}
	var all []uint64
	s.Loop.All(func(c *conn.Conn) {
		if c.Kept() {
			all = append(all, uint64(c.Slot()))
		}
	})
	for _, l := range s.links.all {
		if l.source.Kept() {
			all = append(all, uint64(l.source.Slot()))
		}
	}
	all = append(all, v.drops...)
	v.journal.End()
	for end := time.Now().Add(time.Second); len(all) > 0 && time.Now().Before(end); {
		n, err := v.owner.Drop(all)
		if err != nil {
			return
		}
		if all = all[n:]; n == 0 {
			time.Sleep(time.Millisecond)
		}
	}
}

// Own has the keeper take what is valid here for the valid state, and this process for the
// owner.
func (s *Shard) Own() error {
	if !s.Kept() {
		return nil
	}
	err := s.saving.owner.Valid(s.saving.journal.FD())
	for tries := 0; errors.Is(err, keep.ErrBusy) && tries < maxBusy; tries++ {
		time.Sleep(time.Millisecond)
		err = s.saving.owner.Valid(s.saving.journal.FD())
	}
	if err != nil {
		s.loseKeeper(err)
	}
	return err
}

// Disown gives the connection to the keeper up: another process has it, and owns
// everything. Unless that process has the keeper, too, everything is dropped there.
func (s *Shard) Disown(toKeeper bool) {
	if !s.Kept() {
		return
	}
	if !toKeeper {
		s.Leave()
	}
	_ = s.saving.owner.Close()
	s.saving.watch.Release()
	s.saving.journal.Close()
	s.Loop.Save(nil, nil)
	s.Relay.Save(false)
	s.saving = saving{}
}

// keepNew gives the keeper what it has not got; false: it is gone.
func (s *Shard) keepNew() bool {
	v := &s.saving
	v.puts, v.putConns, v.putLinks = v.puts[:0], v.putConns[:0], v.putLinks[:0]
	for l := range v.links {
		if l.source != nil && !l.source.Kept() {
			if l.source.Slot() == 0 {
				l.source.Settle(v.journal.Add(), false)
			}
			if l.source.Slot() == 0 {
				continue
			}
			v.puts = append(v.puts, keep.Item{ID: uint64(l.source.Slot()), FD: l.source.Fd()})
			v.putLinks = append(v.putLinks, l)
		}
	}
	for _, c := range v.conns {
		if c.Kept() {
			continue
		}
		if len(v.puts) >= maxNew {
			v.later = append(v.later, c.Handle())
			continue
		}
		v.puts = append(v.puts, keep.Item{ID: uint64(c.Slot()), FD: c.FD()})
		v.putConns = append(v.putConns, c)
	}
	if len(v.puts) == 0 {
		s.retryLater()
		return true
	}
	n, err := 0, error(nil)
	if len(v.drops) == 0 { // in order: a slot that is used again is dropped first
		n, err = v.owner.Put(v.puts)
	}
	if err != nil {
		s.loseKeeper(err)
		return false
	}
	v.slow = n == 0
	for i, l := range v.putLinks {
		if i < n {
			l.source.Settle(l.source.Slot(), true)
		}
	}
	for i, c := range v.putConns {
		if len(v.putLinks)+i < n {
			c.Keep()
		} else {
			v.later = append(v.later, c.Handle())
		}
	}
	s.retryLater()
	return true
}

// retryLater looks again after what the keeper has not got, soon.
func (s *Shard) retryLater() {
	v := &s.saving
	waiting := len(v.later) > 0
	for _, l := range v.putLinks {
		waiting = waiting || !l.source.Kept()
	}
	if !waiting || v.retry {
		return
	}
	v.retry = true
	after := laterInterval
	if v.slow {
		after *= 25
	}
	time.AfterFunc(after, func() {
		s.Loop.Post(func() {
			v := &s.saving
			n := min(len(v.later), maxNew)
			later := v.later[:n]
			v.later, v.retry = v.later[n:], false
			for _, handle := range later {
				if c := s.Loop.Lookup(handle); c != nil && v.journal != nil {
					c.Save()
				}
			}
		})
	})
}
