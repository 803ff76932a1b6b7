package proc

import (
	"slices"
	"sync"
	"time"

	"holdfast/unixipc"
)

// delivery is an OPENED, MESSAGE or CLOSED that waits for its turn, or the
// RESULT of a reply that was not written.
type delivery struct {
	link    *link // where it came from and its acknowledgement goes; nil: the SDK's own
	ref     uint64
	kind    unixipc.Type
	flags   unixipc.Flags
	payload []byte
	err     error // of a RESULT; of a MOVED that the gateway did not send: why
}

// arrival is a delivery as its link read it: key is good until the next read.
type arrival struct {
	key []byte
	delivery
}

// flushDelay bounds how long an acknowledgement waits for others to be written
// with it while there is work to do. BenchmarkRoundTrip: 23 µs for a message
// alone, 0.9 µs for one of 256 that are read and acknowledged together.
const flushDelay = 200 * time.Microsecond

// dispatcher owns the deliveries that are here and the workers that handle
// them. A charger is in chargers while, and only while, it is in the run queue
// or with a worker; so one worker has it at a time, and nothing is left of it
// afterwards.
type dispatcher struct {
	handle  func(*Charger, delivery) error // calls the handler and puts the ACK, or NACK, into the link's buffer
	limit   int                            // workers at most
	workers sync.WaitGroup

	mu         sync.Mutex
	chargers   map[string]*Charger
	held       map[string]*loop // by identity; nil: not to be known
	head, tail *Charger         // run queue: chargers with deliveries, waiting for a worker
	started    int              // workers
	idle       int              // workers in wake.Wait, including one that is waking
	waking     bool             // a worker is on its way to look at the run queue
	wake       sync.Cond
	closed     bool // workers leave when the run queue is empty

	unflushed []*link // have acknowledgements in their buffers
	since     time.Time
}

func newDispatcher(limit int, handle func(*Charger, delivery) error) *dispatcher {
	d := &dispatcher{handle: handle, limit: limit, chargers: make(map[string]*Charger)}
	d.wake.L = &d.mu
	return d
}

// enqueue takes what one read of a link brought.
func (d *dispatcher) enqueue(lp *loop, batch []arrival) {
	if len(batch) == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, a := range batch {
		if ch := d.chargers[string(a.key)]; ch != nil { // found without making a string
			ch.queue = append(ch.queue, a.delivery)
		} else {
			d.add(lp, string(a.key), a.delivery)
		}
	}
	d.call()
}

// add puts a delivery behind the others of its charger. d.mu is held.
func (d *dispatcher) add(lp *loop, identity string, dl delivery) {
	ch := d.chargers[identity]
	if ch == nil {
		ch = &Charger{identity: identity, loop: lp}
		ch.queue = ch.first[:0]
		d.chargers[identity] = ch
		d.push(ch)
	}
	ch.queue = append(ch.queue, dl)
}

// drop forgets what l delivered and no worker has begun: its link is gone, and
// the gateway delivers it again.
func (d *dispatcher) drop(l *link) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, ch := range d.chargers {
		ch.queue = slices.DeleteFunc(ch.queue, func(dl delivery) bool { return dl.link == l })
	}
}

// close lets the workers go when they have nothing left to do.
func (d *dispatcher) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	d.wake.Broadcast()
}

// work is the life of a worker. d.mu is held except in handlers and writes.
//
// Acknowledgements are written late, to be written together. The rule that
// keeps them from waiting behind a slow handler: a worker may leave unflushed
// links to another worker only if that one is on its way here (d.waking).
func (d *dispatcher) work() {
	var due []*link // to be flushed by this worker, now
	flush := func() {
		due, d.unflushed = d.unflushed, due[:0]
		d.mu.Unlock()
		for _, l := range due {
			l.flush()
		}
		clear(due)
		d.mu.Lock()
	}

	d.mu.Lock()
	d.waking = false
	for {
		ch := d.pop()
		switch {
		case ch != nil && len(ch.queue) == 0: // dropped
			delete(d.chargers, ch.identity)

		case ch != nil:
			dl := ch.queue[0]
			ch.queue[0] = delivery{}
			ch.queue = ch.queue[1:]
			d.call()
			if len(d.unflushed) > 0 && (!d.waking || time.Since(d.since) > flushDelay) {
				flush()
			}
			before, due := d.begin(ch, dl)
			if due {
				d.mu.Unlock()
				err := d.handle(ch, dl)
				d.mu.Lock()
				if err == errLater {
					d.leave(ch)
					continue
				}
				if err != nil {
					d.failed(ch, dl, before)
				}
			}
			d.done(ch, dl.link)

		case len(d.unflushed) > 0:
			flush()

		case d.closed:
			d.mu.Unlock()
			return

		default:
			d.idle++
			d.wake.Wait()
			d.idle--
			d.waking = false
		}
	}
}

// call brings one more worker to the run queue, if there is work for it and
// none is coming already: each worker that takes work calls the next, so
// handlers that block soon occupy all workers, and quick ones only a few.
func (d *dispatcher) call() {
	switch {
	case d.head == nil || d.waking:
	case d.idle > 0:
		d.waking = true
		d.wake.Signal()
	case d.started < d.limit:
		d.waking = true
		d.started++
		d.workers.Go(d.work)
	}
}

// done takes back a charger from its worker; l, if there is one, has something
// to write.
func (d *dispatcher) done(ch *Charger, l *link) {
	if len(ch.queue) > 0 {
		d.push(ch)
	} else {
		delete(d.chargers, ch.identity)
	}
	if l == nil {
		return
	}
	if len(d.unflushed) == 0 {
		d.since = time.Now()
	}
	if !slices.Contains(d.unflushed, l) {
		d.unflushed = append(d.unflushed, l)
	}
}

// push and pop are the run queue.

func (d *dispatcher) push(ch *Charger) {
	if d.tail == nil {
		d.head = ch
	} else {
		d.tail.next = ch
	}
	d.tail = ch
}

func (d *dispatcher) pop() *Charger {
	ch := d.head
	if ch == nil {
		return nil
	}
	d.head, ch.next = ch.next, nil
	if d.head == nil {
		d.tail = nil
	}
	return ch
}
