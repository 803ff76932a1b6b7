package upgrade

import (
	"time"

	"holdfast/cmd/holdfast/shard"
	"holdfast/unixipc/handoff"

	"golang.org/x/sys/unix"
)

const (
	// sliceRest follows each slice of the pre-copy: both processes together must
	// leave the messages of chargers their share of the CPU.
	sliceRest = 2 * time.Millisecond
	// maxRounds of changes are sent before the freeze; with fewer than
	// fewChanges in one, another would find about as many again.
	maxRounds  = 4
	fewChanges = 64
)

// precopy sends the links and the connections while the loops go on, and then,
// a few times, what has changed meanwhile. What is left for the freeze then depends
// on how much changes, and not on how many connections there are. sent is called
// with the number of connections after each slice.
func precopy(parts []*exporter, old *handoff.Old, sent func(connections int)) error {
	for _, e := range parts {
		if err := copyShard(e, old, sent); err != nil {
			return err
		}
	}
	for range maxRounds {
		left, err := copyChanges(parts, old)
		if err != nil {
			return err
		}
		if left <= fewChanges {
			break
		}
	}
	return nil
}

// copyShard sends the links of a shard, and then its connections in slices.
func copyShard(e *exporter, old *handoff.Old, sent func(connections int)) error {
	for first, more := true, true; more; first = false {
		var items []handoff.Item
		err := onLoop(e.shard, func() (err error) {
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
func copyChanges(parts []*exporter, old *handoff.Old) (n int, err error) {
	for _, e := range parts {
		var c changes
		err := onLoop(e.shard, func() (err error) {
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

// onLoop runs f on the loop of s and waits for it.
func onLoop(s *shard.Shard, f func() error) error {
	done := make(chan error, 1)
	s.Loop.Post(func() { done <- f() })
	return <-done
}
