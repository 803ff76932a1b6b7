package upstream

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// A Queue dials for all chargers, at one rate, so that a central system that comes up is
// not stormed. While a host does not answer, one dial at a time asks whether it is back;
// the others wait.
type Queue struct {
	dialer  *Dialer
	limiter *rate.Limiter
	asked   chan *Request
	ended   chan ended
	stopped chan struct{}
	hosts   map[string]*host
	dialing int
	turn    int // of fair
}

// A Request is one wish to connect.
type Request struct {
	Target Target
	// Urgent: the charger has something waiting. Of those, the newest goes first.
	Urgent bool
	// Done is called once, by a goroutine of its own, unless the request is withdrawn.
	Done func(*Conn, error)
	// Context ends when nobody wants the connection any more.
	Context context.Context

	settled atomic.Bool // it is dialled, or withdrawn
}

// Withdraw takes a request back. It reports false if it is dialled already.
func (r *Request) Withdraw() bool { return r.settled.CompareAndSwap(false, true) }

// host is what is known of one that connections go to.
type host struct {
	urgent, rest []*Request
	sweepAt      int  // so many requests there are before those that were withdrawn are taken out
	failures     int  // dials in a row that nobody answered
	probing      bool // one asks whether it is back
	sleeping     bool // until then, none does
}

type ended struct {
	host     *host
	answered bool
	nobody   bool // wants to know: it was given up before the host could answer
	woken    bool // no dial: the pause is over
}

// maxDialing is how many dials are under way at once.
const maxDialing = 64

// NewQueue returns a queue that dials so often in a second.
func NewQueue(d *Dialer, perSecond float64) *Queue {
	return &Queue{
		dialer: d, limiter: rate.NewLimiter(rate.Limit(perSecond), max(1, int(perSecond/10))),
		asked: make(chan *Request), ended: make(chan ended), stopped: make(chan struct{}), hosts: map[string]*host{},
	}
}

// Ask queues a request. When Run has ended, nothing comes of it.
func (q *Queue) Ask(r *Request) {
	select {
	case q.asked <- r:
	case <-q.stopped:
	}
}

// Now dials at once, but for the rate: for a charger that waits at the door.
func (q *Queue) Now(ctx context.Context, t Target) (*Conn, error) {
	if err := q.limiter.Wait(ctx); err != nil {
		return nil, errors.New("too many dials wait (-dial-rate)")
	}
	return q.dialer.Dial(ctx, t)
}

// Run dials until ctx ends.
func (q *Queue) Run(ctx context.Context) {
	defer close(q.stopped)
	var token <-chan time.Time // fires when the rate allows another dial
	for {
		if token == nil && q.dialing < maxDialing && q.ready() {
			token = time.After(q.limiter.Reserve().Delay())
		}
		select {
		case <-ctx.Done():
			return
		case r := <-q.asked:
			h := q.hosts[hostOf(r.Target.URL)]
			if h == nil {
				h = &host{}
				q.hosts[hostOf(r.Target.URL)] = h
			}
			h.add(r)
		case <-token:
			token = nil
			if h, r := q.next(); r != nil {
				q.dial(ctx, h, r)
			}
		case e := <-q.ended:
			q.settle(ctx, e)
		}
	}
}

func (q *Queue) ready() bool {
	for _, h := range q.hosts {
		if h.ready() {
			return true
		}
	}
	return false
}

func (h *host) ready() bool {
	return len(h.urgent)+len(h.rest) > 0 && !h.sleeping && (h.failures == 0 || !h.probing)
}

// next takes a request of some host that is ready.
func (q *Queue) next() (*host, *Request) {
	for _, h := range q.hosts { // in random order
		for h.ready() {
			q.turn++
			if r := h.take(q.turn%4 == 0); r.Withdraw() { // it cannot be any more
				return h, r
			}
		}
	}
	return nil, nil
}

// add queues a request. Those that were withdrawn since are taken out when there are twice
// as many as after the last time: a charger that comes and goes leaves none behind.
func (h *host) add(r *Request) {
	if r.Urgent {
		h.urgent = append(h.urgent, r)
	} else {
		h.rest = append(h.rest, r)
	}
	if len(h.urgent)+len(h.rest) < max(h.sweepAt, minSweep) {
		return
	}
	withdrawn := func(r *Request) bool { return r.settled.Load() }
	h.urgent = slices.DeleteFunc(h.urgent, withdrawn)
	h.rest = slices.DeleteFunc(h.rest, withdrawn)
	h.sweepAt = 2 * (len(h.urgent) + len(h.rest))
}

const minSweep = 64

// take takes the newest of the urgent requests. Now and then it is the oldest of all, so
// that none waits for ever behind newer ones.
func (h *host) take(oldest bool) (r *Request) {
	switch n := len(h.urgent); {
	case n > 0 && !oldest:
		r, h.urgent = h.urgent[n-1], h.urgent[:n-1]
	case len(h.rest) > 0:
		r, h.rest = h.rest[0], h.rest[1:]
	default:
		r, h.urgent = h.urgent[0], h.urgent[1:]
	}
	return r
}

func (q *Queue) dial(ctx context.Context, h *host, r *Request) {
	q.dialing++
	h.probing = true
	go func() {
		c, err := (*Conn)(nil), r.Context.Err()
		if err == nil {
			c, err = q.dialer.Dial(r.Context, r.Target)
		}
		refusal, refused := errors.AsType[*RefusalError](err)
		refused = refused && !refusal.Away()
		select {
		case q.ended <- ended{host: h, answered: err == nil || refused, nobody: r.Context.Err() != nil}:
		case <-ctx.Done():
		}
		r.Done(c, err)
	}()
}

// Pauses between two questions whether a host is back.
const (
	firstPause = 250 * time.Millisecond
	maxPause   = 2 * time.Second
)

func (q *Queue) settle(ctx context.Context, e ended) {
	h := e.host
	if e.woken {
		h.sleeping = false
		return
	}
	q.dialing--
	h.probing = false
	switch {
	case e.answered:
		h.failures = 0
		return
	case e.nobody:
		return
	}
	if h.sleeping { // it was under way when the first of them failed
		return
	}
	pause := min(firstPause<<min(h.failures, 10), maxPause)
	h.failures++
	h.sleeping = true
	time.AfterFunc(pause/2+rand.N(pause/2), func() {
		select {
		case q.ended <- ended{host: h, woken: true}:
		case <-ctx.Done():
		}
	})
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	return u.Scheme + "://" + u.Host
}
