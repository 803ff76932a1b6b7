package load

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/tests/bench/epoll"
	"holdfast/tests/bench/hist"
	"holdfast/tests/bench/procfs"
)

// Mode is what the chargers of a run do.
type Mode string

const (
	Closed Mode = "closed" // each sends its next message when the last was answered
	Open   Mode = "open"   // messages leave at a fixed total rate, each charger in turn
	Idle   Mode = "idle"   // nothing, but for answering pings
)

// Plan of a run.
type Plan struct {
	Mode     Mode
	Rate     int           // Open: messages per second of the whole fleet
	Size     int           // of a message, bytes
	Answers  bool          // the server answers as a central system, and does not echo
	WarmUp   time.Duration // not measured
	Duration time.Duration // measured
	Watch    []int         // processes whose CPU time is measured
	Core     int           // the core they are pinned to, for Result.OtherShare
}

// drain is how long the last answers may take before they count as lost.
const drain = 2 * time.Second

// tick is how often a run that gets no events looks at the clock.
const tick = 20 * time.Millisecond

// run is a Plan being carried out on a fleet.
type run struct {
	*Fleet
	Plan
	msg     *message
	start   time.Time
	now     time.Duration // since start, read once for each event
	sending bool
	next    int // Open: the charger whose turn it is
	ticks   uint64

	measuring bool
	latency   hist.Hist
	messages  int
	inFlight  int
}

// Run carries out p on f.
func Run(f *Fleet, p Plan) (Result, error) {
	msg, err := newMessage(p.Size, p.Answers)
	if err != nil {
		return Result{}, err
	}
	interval := tick
	if p.Mode == Open {
		if p.Rate <= 0 {
			return Result{}, errors.New("an open loop needs a rate")
		}
		interval = time.Second / time.Duration(p.Rate)
	}
	ticker, err := epoll.Ticker(interval)
	if err != nil {
		return Result{}, err
	}
	defer unix.Close(ticker)
	if err := f.poller.Add(ticker); err != nil {
		return Result{}, err
	}
	defer f.poller.Remove(ticker)

	r := &run{Fleet: f, Plan: p, msg: msg, start: time.Now(), sending: true}
	f.onText = r.answer
	defer func() { f.onText = nil }()
	onTick := func() { r.onTick(ticker, interval) }
	if p.Mode == Closed {
		for _, c := range f.chargers {
			r.now = time.Since(r.start)
			r.call(c, r.now)
		}
	}
	if err := r.until(p.WarmUp, ticker, onTick); err != nil {
		return Result{}, err
	}
	return r.measure(ticker, onTick)
}

// measure takes the window of the run that counts, and lets the rest of the
// answers come in.
func (r *run) measure(ticker int, onTick func()) (Result, error) {
	before, err := procfs.Sample(r.Watch, r.Core)
	if err != nil {
		return Result{}, err
	}
	pings, from := r.Pings(), time.Since(r.start)
	r.measuring = true
	if err := r.until(from+r.Duration, ticker, onTick); err != nil {
		return Result{}, err
	}
	r.measuring = false
	elapsed := time.Since(r.start) - from
	after, err := procfs.Sample(r.Watch, r.Core)
	if err != nil {
		return Result{}, err
	}
	result := r.result(elapsed, after.Sub(before))
	result.Pings = r.Pings() - pings

	r.sending = false
	for end := time.Since(r.start) + drain; r.inFlight > 0 && r.alive > 0 && r.now < end; {
		if err := r.until(r.now+tick, ticker, onTick); err != nil {
			return Result{}, err
		}
	}
	if r.inFlight > 0 {
		r.errors += r.inFlight - 1
		r.fault(fmt.Errorf("%d messages have no answer after %v", r.inFlight, drain))
	}
	result.Errors = r.errors
	if r.first != nil {
		result.FirstError = r.first.Error()
	}
	return result, nil
}

// until serves events until the time t since the start.
func (r *run) until(t time.Duration, ticker int, onTick func()) error {
	for {
		if err := r.turn(ticker, onTick); err != nil {
			return err
		}
		if r.now = time.Since(r.start); r.now >= t {
			return nil
		}
		if r.alive == 0 {
			return fmt.Errorf("no connection is left: %w", r.first)
		}
	}
}

// onTick sends what is due in an open loop.
func (r *run) onTick(ticker int, interval time.Duration) {
	for range epoll.Ticks(ticker) {
		r.ticks++
		if r.Mode != Open || !r.sending {
			continue
		}
		for range r.chargers {
			c := r.chargers[r.next]
			r.next = (r.next + 1) % len(r.chargers)
			if r.byFD[c.fd] == c {
				// Latency counts from when the message was due: one that left
				// late because this loop was held up waited all the same.
				r.call(c, time.Duration(r.ticks)*interval)
				break
			}
		}
	}
}

func (r *run) call(c *charger, due time.Duration) {
	c.due = append(c.due, due)
	r.inFlight++
	c.sent++
	r.send(c, r.msg.frame(c.number, c.sent))
}

func (r *run) answer(c *charger, payload []byte) {
	r.now = time.Since(r.start)
	c.answered++
	if c.answered > c.sent || !r.msg.echoed(payload, c.number, c.answered) {
		r.lose(c, fmt.Errorf("charger %d: answer %d is not an echo: %.60q", c.number, c.answered, payload))
		return
	}
	if r.measuring {
		r.messages++
		r.latency.Add(r.now - c.due[0])
	}
	c.due = append(c.due[:0], c.due[1:]...)
	r.inFlight--
	if r.Mode == Closed && r.sending {
		r.call(c, r.now)
	}
}
