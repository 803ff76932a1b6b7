package relay

import "slices"

// Theory of operation
//
// A link may have to end while something is under way that still uses it, or its
// chargers: a reply that fails has a RESULT, and the link that the RESULT is for
// may not read. So an end has two halves.
//
// end takes the link out of Relay.links at once: nothing more is delivered to it,
// asked of it or written to it. Its chargers stay its own, and what it had in
// flight stays in flight.
//
// tearDown gives all of that to others, the chargers in slices (sweep.go). It runs
// at the end of the turn (EndTurn), or when the gateway reports the end of the
// connection (Lost): never below another method of the relay.

// end marks l as ended. It must be in Relay.links.
func (r *Relay) end(l *Link, why string) {
	l.ended = why
	l.redelivered = l.inFlight
	l.in = nil
	r.wake(l)
	i := slices.Index(r.links, l)
	r.links = slices.Delete(r.links, i, i+1)
	r.noteSubscribers()
	r.ended = append(r.ended, l)
}

// Lost records that a link's connection has ended. Answers that were not written to
// it go to the chargers' owners.
func (r *Relay) Lost(l *Link) {
	if l.ended == "" {
		r.end(l, "processor closed the link")
	}
	l.unwrittenAnswers(r.answerOwner)
	l.out, l.off = nil, 0
	r.EndTurn()
}

// EndTurn does what had to wait until nothing else of the relay is under way. The
// gateway calls it at the end of a turn, before it writes to links.
func (r *Relay) EndTurn() {
	for len(r.ended) > 0 {
		ended := r.ended
		r.ended = nil
		for _, l := range ended {
			r.tearDown(l)
		}
	}
}

// tearDown gives what was l's to other links.
func (r *Relay) tearDown(l *Link) {
	if asserting && r.busy != "" {
		panic("relay: a link is torn down below " + r.busy)
	}
	r.askAgain(l)
	gone := Asker{r.cfg.Loop, l.id}
	r.forgetAsker(gone)
	for loop := range r.cfg.Loops {
		if loop != r.cfg.Loop {
			r.gateway.Forward(loop, func(there *Relay) { there.forgetAsker(gone) })
		}
	}
	l.ready, l.head, l.flying = nil, 0, nil
	if l.chargers > 0 {
		r.rankingChanged()
	}
}

// asserting has the relay check, in its own tests, that nothing is torn down below
// a method that still uses it: busy names the one that runs.
var asserting = false

// enter and leave surround the methods that use chargers and links.
func (r *Relay) enter(name string) { r.busy = name }
func (r *Relay) leave()            { r.busy = "" }
