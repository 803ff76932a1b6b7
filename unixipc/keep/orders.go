package keep

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// onPut keeps all of fds, or none; but those that there is no room for it only notes, -1
// among them: one too many must not cost the others their keeper.
func (k *Keeper) onPut(ids idList, fds []int) (kept bool, err error) {
	for i := range fds {
		if _, exists := k.items[ids.at(i)]; exists {
			for j := range i {
				delete(k.items, ids.at(j))
			}
			return false, fmt.Errorf("PUT of item %d, which exists", ids.at(i))
		}
		k.items[ids.at(i)] = noRoom
	}
	without := 0
	for i, fd := range fds {
		if fd < 0 || fd >= k.limitFDs {
			without++
			if fd >= 0 {
				_ = unix.Close(fd)
			}
			continue
		}
		k.items[ids.at(i)] = int32(fd)
	}
	if without > 0 {
		k.without += without
		k.Log.Error("keeper: no room for all: a crash of the gateway would end those", "not kept", k.without, "reason", k.room())
	}
	k.begin()
	return true, nil
}

// noRoom stands for the file descriptor of an item that there was no room for.
const noRoom = -1

// room says why there is none.
func (k *Keeper) room() string {
	return fmt.Sprintf("it keeps %d, and its limit of open files (RLIMIT_NOFILE) leaves no more than about %d", k.Kept(), k.limitFDs)
}

// forget removes an item.
func (k *Keeper) forget(id uint64) {
	if fd := k.items[id]; fd >= 0 {
		_ = unix.Close(int(fd))
	} else {
		k.without--
	}
	delete(k.items, id)
}

// onDrop closes all the items, or none. Before its VALID it only notes them: the claimant
// may die, and the next one needs them then.
func (k *Keeper) onDrop(ids idList) error {
	o := &k.owner
	if o.state == claimed {
		for i := range ids.len() {
			id := ids.at(i)
			_, exists := k.items[id]
			if _, held := o.held[id]; held || !exists {
				for j := range i {
					delete(o.held, ids.at(j))
				}
				return fmt.Errorf("DROP of item %d, which does not exist", id)
			}
			if o.held == nil {
				o.held = make(map[uint64]struct{})
			}
			o.held[id] = struct{}{}
		}
		return nil
	}
	gone := make(map[uint64]struct{}, ids.len())
	for i := range ids.len() {
		id := ids.at(i)
		_, exists := k.items[id]
		if _, twice := gone[id]; twice || !exists {
			return fmt.Errorf("DROP of item %d, which does not exist", id)
		}
		gone[id] = struct{}{}
	}
	for id := range gone {
		k.forget(id)
	}
	return nil
}

// onValid makes the process of pidfd the owner, with its memory.
func (k *Keeper) onValid(memory, pidfd int) (kept bool, err error) {
	if !isMemory(memory) {
		return false, errors.New("VALID with a memory that is none")
	}
	pid, err := pidOf(pidfd)
	if err != nil {
		return false, fmt.Errorf("VALID: %w", err)
	}
	o := &k.owner
	for id := range o.held {
		k.forget(id)
	}
	k.closeMemory()
	k.closeOwner()
	if o.pid != pid || o.state != owned {
		k.Log.Info("keeper: the owner", "process", pid, "kept", k.Kept())
	}
	k.memory, k.ends = memory, time.Time{}
	o.state, o.held, o.pidfd, o.pid = owned, nil, pidfd, pid
	return true, nil
}
