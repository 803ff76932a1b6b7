package proc

import "holdfast/unixipc"

// The dispatcher knows which chargers the processor's author has been shown as
// connected, so that it can report their end when the gateway cannot: Opened was
// called, and Closed or Moved not yet. It costs an entry for each, so it is done only
// if Config.Closed or Moved is set (dispatcher.held is not nil). A charger of a link
// that is lost stays, until the gateway says whose it is.
//
// begin and failed are called with d.mu held.

// begin records a delivery that a worker takes. It reports false if there is
// nothing to do: for a CLOSED of the SDK's own whose charger is not held.
// before is whether the charger was held.
func (d *dispatcher) begin(ch *Charger, dl delivery) (before, due bool) {
	if d.held == nil {
		return false, true
	}
	before = d.held[ch.identity] != nil
	switch dl.kind {
	case unixipc.Opened:
		d.held[ch.identity] = ch.loop
	case unixipc.Closed:
		delete(d.held, ch.identity)
		return before, before || dl.link != nil
	case unixipc.Moved:
		if dl.err == nil { // the gateway's word
			delete(d.held, ch.identity)
		}
	}
	return before, true
}

// failed takes back what begin has recorded of an OPENED that was given back.
func (d *dispatcher) failed(ch *Charger, dl delivery, before bool) {
	if d.held != nil && dl.kind == unixipc.Opened && !before {
		delete(d.held, ch.identity)
	}
}

// closeHeld adds a CLOSED for every charger that is held, behind what is queued
// of it.
func (d *dispatcher) closeHeld(lp *loop, body []byte) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for identity := range d.held {
		d.add(lp, identity, delivery{kind: unixipc.Closed, payload: body})
	}
	d.call()
	return len(d.held)
}

// moveHeld has every charger that was shown by a link of lp, which is lost, reported as
// moved.
func (d *dispatcher) moveHeld(lp *loop) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for identity, of := range d.held {
		if of == lp {
			d.add(lp, identity, delivery{kind: unixipc.Moved, err: ErrLinkLost})
		}
	}
	d.call()
}
