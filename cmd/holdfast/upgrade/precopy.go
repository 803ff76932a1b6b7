package upgrade

import (
	"fmt"
	"sync/atomic"
	"time"

	"holdfast/cmd/holdfast/shard"
	"holdfast/unixipc/handoff"

	"golang.org/x/sys/unix"
)

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

// precopy sends the links and the connections while the loops go on, and then,
// a few times, what has changed meanwhile. What is left for the freeze then depends
// on how much changes, and not on how many connections there are. sent is called
// with the number of connections after each slice. No loop is waited for after the
// deadline.
func precopy(parts []*exporter, old *handoff.Old, deadline time.Time, sent func(connections int)) error {
	for _, e := range parts {
		if err := copyShard(e, old, deadline, sent); err != nil {
			return err
		}
	}
	for range maxRounds {
		before := old.Bytes()
		left, err := copyChanges(parts, old, deadline)
		if err != nil {
			return err
		}
		if left <= fewChanges && old.Bytes()-before <= fewBytes {
			break
		}
	}
	return nil
}

// copyShard sends the links of a shard, and then its connections in slices.
func copyShard(e *exporter, old *handoff.Old, deadline time.Time, sent func(connections int)) error {
	for first, more := true, true; more; first = false {
		var items []handoff.Item
		err := onLoop(e.shard, deadline, func() (err error) {
			if first {
				items, err = e.begin()
			} else {
				items, more, err = e.slice()
			}
			return err
		})
		if err == nil {
			err = (&changes{newLinks: items}).send(old)
		}
		closeDuplicates(items)
		if err != nil {
			return err
		}
		if err := old.Flush(); err != nil {
			return err
		}
		if !first {
			sent(len(items))
		}
		time.Sleep(sliceRest)
	}
	return nil
}

// copyChanges sends what has changed in all shards, and returns how much that was.
func copyChanges(parts []*exporter, old *handoff.Old, deadline time.Time) (n int, err error) {
	for _, e := range parts {
		var c changes
		err := onLoop(e.shard, deadline, func() (err error) {
			c, err = e.changes(false)
			return err
		})
		if err == nil {
			err = c.send(old)
		}
		closeDuplicates(c.newLinks)
		closeDuplicates(c.newChargers)
		if err != nil {
			return n, err
		}
		n += c.len()
	}
	return n, old.Flush()
}

func closeDuplicates(items []handoff.Item) {
	for _, it := range items {
		if it.FD >= 0 {
			_ = unix.Close(it.FD)
		}
	}
}

// leastWait is how long a loop is waited for at least: the deadline may be over because
// the whole process stood still, and goes on now.
const leastWait = time.Second

// onLoop runs f on the loop of s and waits for it. A loop that does not come to f by
// the deadline, or in leastWait, hangs; f does not run then, ever.
func onLoop(s *shard.Shard, deadline time.Time, f func() error) error {
	var taken atomic.Bool // by the loop, which runs f, or by this goroutine, which gives up
	done := make(chan error, 1)
	s.Loop.Post(func() {
		if taken.CompareAndSwap(false, true) {
			done <- f()
		}
	})
	limit := time.NewTimer(max(time.Until(deadline), leastWait))
	defer limit.Stop()
	select {
	case err := <-done:
		return err
	case <-limit.C:
	}
	if taken.CompareAndSwap(false, true) {
		return fmt.Errorf("loop %d does not turn", s.Index)
	}
	return <-done // f has begun, and it waits for nothing
}
