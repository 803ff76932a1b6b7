package main

import (
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"sync"
	"time"
)

// transactions gives out the transaction ids of OCPP 1.6: positive, 32 bit, and
// never one twice, neither after a restart or crash nor between processors that
// run side by side.
//
// 31 bits are too few for chance or for a clock: random ids collide after some
// 50,000, and two processors share every tick. So ids are counted, in a file
// that all processors of the gateway share (they run on its machine anyway: it
// is reached through a Unix socket). A processor leases a block of ids at a time
// and gives them out from memory; a crash loses at most the rest of its block.
type transactions struct {
	dir string
	now func() time.Time

	mu        sync.Mutex
	next, end int64 // leased and not given out: next ≤ id < end
	given     *recent[start, int32]
	running   *recent[int32, start] // the same, by id
}

// start is one StartTransaction: whose, and a digest of the whole message. The
// message id alone would not do: chargers count it from 1 again after a reboot.
type start struct {
	identity string
	message  [sha256.Size]byte
}

const (
	leaseSize = 64   // ids: one fsync for that many transactions
	maxGiven  = 4096 // transactions remembered, at least
)

// openTransactions leases a first block at once, so that a directory that does
// not work is found out now and not when a driver waits. The directory is not
// made here: it belongs to the gateway or to whoever installed us.
func openTransactions(dir string) (*transactions, error) {
	t := newTransactions(dir, maxGiven)
	return t, t.lease()
}

func newTransactions(dir string, remembered int) *transactions {
	return &transactions{dir: dir, now: time.Now, given: newRecent[start, int32](remembered), running: newRecent[int32, start](remembered)}
}

// start returns the id for a StartTransaction. The same message comes again when its
// answer was not written or did not arrive: the gateway redelivers it, or the charger
// repeats it after its own time-out, a lost connection or a reboot. It gets the id that
// it got here before, or whoever keeps books on starts would have two. If it was
// another processor that had it, a new id is as good.
func (t *transactions) start(identity string, message []byte) (int32, error) {
	key := start{identity, sha256.Sum256(message)}
	t.mu.Lock()
	defer t.mu.Unlock()
	if id, ok := t.given.get(key); ok {
		return id, nil
	}
	if t.next == t.end {
		if err := t.lease(); err != nil {
			return 0, err
		}
	}
	id := int32(t.next)
	t.next++
	t.given.put(key, id)
	t.running.put(id, key)
	return id, nil
}

// stop forgets a transaction: the charger knows its id, so it has no reason to start it
// again. One without a clock that counts message ids from 1 after each reboot may send
// the same bytes, and mean another.
func (t *transactions) stop(identity string, id int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if key, ok := t.running.get(id); ok && key.identity == identity {
		t.running.remove(id)
		t.given.remove(key)
	}
}

// lease takes the next block from the file. The lock on it is released with
// the file, thus also when the process dies.
func (t *transactions) lease() error {
	file, err := lockCounter(filepath.Join(t.dir, counterName))
	if err != nil {
		return err
	}
	defer file.Close()
	first, err := readCounter(file, t.now())
	if err != nil {
		return fmt.Errorf("%s: %w", file.Name(), err)
	}
	if err := writeCounter(file, first+leaseSize); err != nil {
		return err
	}
	t.next, t.end = first, first+leaseSize
	return nil
}
