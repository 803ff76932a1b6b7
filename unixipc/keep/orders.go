package keep

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// onPut keeps all of fds, or none.
func (k *Keeper) onPut(ids idList, fds []int) (kept bool, err error) {
	for i, fd := range fds {
		id := ids.at(i)
		if fd >= k.limitFDs {
			err = errors.New(k.room())
		} else if _, exists := k.items[id]; exists {
			err = fmt.Errorf("PUT of item %d, which exists", id)
		}
		if err != nil {
			for j := range i {
				delete(k.items, ids.at(j))
			}
			return false, err
		}
		k.items[id] = int32(fd)
	}
	k.begin()
	return true, nil
}

// room says why there is none.
func (k *Keeper) room() string {
	return fmt.Sprintf("the keeper has no room: it keeps %d, and its limit of open files (RLIMIT_NOFILE) leaves no more than about %d",
		len(k.items), k.limitFDs)
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
	fds := make([]int32, 0, ids.len())
	for i := range ids.len() {
		fd, exists := k.items[ids.at(i)]
		if !exists {
			for j, fd := range fds {
				k.items[ids.at(j)] = fd
			}
			return fmt.Errorf("DROP of item %d, which does not exist", ids.at(i))
		}
		delete(k.items, ids.at(i))
		fds = append(fds, fd)
	}
	for _, fd := range fds {
		_ = unix.Close(int(fd))
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
		_ = unix.Close(int(k.items[id]))
		delete(k.items, id)
	}
	k.closeMemory()
	k.closeOwner()
	if o.pid != pid || o.state != owned {
		k.Log.Info("keeper: the owner", "process", pid, "kept", len(k.items))
	}
	k.memory, k.ends = memory, time.Time{}
	o.state, o.held, o.pidfd, o.pid = owned, nil, pidfd, pid
	return true, nil
}
