package relay

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"holdfast/unixipc"
)

// A Link is one connection of a processor.
//
//	             Join            DRAIN, Drain          nothing left
//	(connected) ------> joined ----------------> draining ------------> drained
//	                         <----------------
//	                              Undrain
//	                      |                       |   ^                    |
//	                      |                       |   +-------DRAIN--------+
//	                      +------Refuse, Lost-----+------Refuse, Lost------+
//	                                              v
//	                                            ended
//
// What the states mean:
//
//   - joined: it owns chargers and gets deliveries.
//   - draining: it gets no new charger and no new delivery. Its chargers move
//     away as their deliveries are acknowledged.
//   - drained: it is still draining, but DRAINED is not owed. It was sent, or
//     nobody on the link asked for it (Drain, by an operator). A link that only
//     asks joins in this state.
//   - ended: it is not in Relay.links. The gateway writes what is left and
//     closes the connection.
type Link struct {
	id           uint32
	name         string
	hash         uint64
	subprotocols []string // nil: all
	window       int
	// chargerWindow is how many deliveries of one charger may be in flight, if the
	// processor has asked for fewer than the gateway makes; else 0.
	chargerWindow int

	in  []byte // beginning of a frame that is not complete
	out []byte // whole frames, unwritten from off on
	off int
	cut bool // out begins somewhere in a frame: an older release has handed it over

	forwarded int // bytes of its orders that wait for other loops

	inFlight int
	checkAt  time.Time // while inFlight > 0: no delivery is overdue before
	chargers int
	ready    []*Charger // from head on: with something to deliver, in turn
	head     int
	flying   []*Charger // all with something in flight, and some others; see checkHung

	operator   bool // it came in through the admin socket
	askOnly    bool
	authorizes bool
	tokens     uint64 // of the last AUTHORIZE
	taps       []tap
	watches    []watch

	pumping     bool
	draining    bool    // nothing is delivered to it
	retired     retired // draining by an operator's order alone
	drained     bool    // DRAINED is not owed: it was sent, or not asked for
	notified    bool    // LinkReady was called, and Wrote not yet
	redelivered int     // deliveries that were in flight when it ended
	ended       string  // why the link is to be closed once out is written
}

// ID returns the number of the link, unique in its loop.
func (l *Link) ID() uint32 { return l.id }

// Name returns the name of the processor.
func (l *Link) Name() string { return l.name }

// Operator reports whether the link is an operator's.
func (l *Link) Operator() bool { return l.operator }

// AskOnly reports whether the processor asked for no deliveries.
func (l *Link) AskOnly() bool { return l.askOnly }

// ChargerWindow returns the limit that the processor has set for the deliveries of
// one charger; 0 if it has set none.
func (l *Link) ChargerWindow() int { return l.chargerWindow }

// Draining reports whether the link gets no new deliveries.
func (l *Link) Draining() bool { return l.draining }

// Chargers returns the number of chargers that the link owns.
func (l *Link) Chargers() int { return l.chargers }

// InFlight returns the number of unacknowledged deliveries.
func (l *Link) InFlight() int { return l.inFlight }

// Redelivered returns the number of deliveries in flight when the link ended.
func (l *Link) Redelivered() int { return l.redelivered }

// Ended reports whether and why the link is to be closed, once Unwritten is empty.
func (l *Link) Ended() (why string, ended bool) { return l.ended, l.ended != "" }

func (l *Link) takes(subprotocol string) bool {
	return l.subprotocols == nil || slices.Contains(l.subprotocols, subprotocol)
}

// errVersion is the version of a HELLO that is not spoken.
type errVersion uint64

func (v errVersion) Error() string {
	return fmt.Sprintf("protocol version %d is not spoken here", uint64(v))
}

// RefusedVersions returns the versions to be named in the REFUSED of a HELLO for
// which CheckHello returned err: none, unless the version is at fault.
func RefusedVersions(err error) []int {
	if v := errVersion(0); errors.As(err, &v) {
		return []int{unixipc.Version}
	}
	return nil
}

// CheckHello returns why a HELLO must be refused, or nil. version is its ref.
func (r *Relay) CheckHello(version uint64, h unixipc.HelloBody) error {
	switch {
	case version != unixipc.Version:
		return errVersion(version)
	case h.Name == "" || len(h.Name) > 64 || !printable(h.Name):
		return fmt.Errorf("name must be 1 to 64 printable ASCII characters")
	case h.Loop < 0 || h.Loop >= r.cfg.Loops:
		return fmt.Errorf("loop %d does not exist; there are %d", h.Loop, r.cfg.Loops)
	case h.Window < 0:
		return fmt.Errorf("window %d is negative", h.Window)
	case h.ChargerWindow < 0:
		return fmt.Errorf("charger_window %d is negative", h.ChargerWindow)
	case len(h.Subprotocols) > 64:
		return fmt.Errorf("more than 64 subprotocols")
	}
	return nil
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// Join adds a link whose HELLO has passed CheckHello, welcomes it, and moves
// its share of the chargers to it.
//
// operator gives the link the rights of an operator. The caller decides that.
func (r *Relay) Join(h unixipc.HelloBody, operator bool) *Link {
	r.lastLink++
	l := &Link{id: r.lastLink, name: h.Name, window: h.Window, operator: operator, askOnly: h.AskOnly, authorizes: h.Authorize}
	l.draining, l.drained = h.AskOnly, h.AskOnly
	if l.window == 0 {
		l.window = r.cfg.Window
	}
	l.window = min(l.window, r.cfg.MaxWindow)
	if h.ChargerWindow > 0 && h.ChargerWindow < r.cfg.ChargerWindow {
		l.chargerWindow = h.ChargerWindow
	}
	if len(h.Subprotocols) > 0 {
		l.subprotocols = h.Subprotocols
	}
	// Links of one name share its place in the ranking by counting up.
	for n := 0; ; n++ {
		l.hash = mix(hashString(h.Name) + uint64(n))
		if !slices.ContainsFunc(r.links, func(o *Link) bool { return o.hash == l.hash }) {
			break
		}
	}
	welcome, _ := json.Marshal(unixipc.WelcomeBody{
		Gateway:       r.cfg.Version,
		Instance:      r.cfg.Instance,
		Warnings:      r.warnings(h),
		Loops:         r.cfg.Loops,
		Window:        l.window,
		ChargerWindow: r.chargerWindow(l),
		MaxMessage:    r.cfg.MaxMessage,
		MaxNote:       unixipc.MaxNote,
		AckTimeoutMS:  r.cfg.AckTimeout.Milliseconds(),

		CallTimeoutMS:    r.cfg.CallTimeout.Milliseconds(),
		MaxCallTimeoutMS: r.cfg.MaxCallTimeout.Milliseconds(),
		CallQueue:        r.cfg.CallQueue,
	})
	r.write(l, unixipc.Frame{Type: unixipc.Welcome, Ref: unixipc.Version, Payload: welcome})
	r.links = append(r.links, l)
	if !l.askOnly {
		r.rankingChanged()
	}
	r.askAgain(nil)
	return l
}

// warnings are what the gateway takes in a HELLO, but not as it was meant.
func (r *Relay) warnings(h unixipc.HelloBody) (w []string) {
	for _, s := range h.Subprotocols {
		if !slices.Contains(r.cfg.Subprotocols, s) {
			w = append(w, fmt.Sprintf("subprotocol %q is not spoken here, no charger can have it (-subprotocols is %s)", s, strings.Join(r.cfg.Subprotocols, ",")))
		}
	}
	return w
}

// chargerWindow is how many deliveries of one charger may be in flight on l.
func (r *Relay) chargerWindow(l *Link) int {
	if l.chargerWindow > 0 {
		return min(l.chargerWindow, r.cfg.ChargerWindow)
	}
	return r.cfg.ChargerWindow
}

// Links returns the links that have joined and not ended.
func (r *Relay) Links() []*Link { return r.links }

// Receive takes bytes from a link. A fault in them ends it.
func (r *Relay) Receive(l *Link, b []byte) {
	if l.ended != "" {
		return
	}
	r.enter("Receive")
	defer r.leave()
	whole := b
	if len(l.in) > 0 {
		l.in = append(l.in, b...)
		whole = l.in
	}
	rest := whole
	for l.ended == "" {
		f, n, err := unixipc.Parse(rest, r.cfg.MaxMessage)
		if err != nil {
			r.Refuse(l, err.Error())
			return
		}
		if n == 0 {
			break
		}
		rest = rest[n:]
		if err := r.frame(l, f); err != nil {
			r.Refuse(l, err.Error())
			return
		}
	}
	switch {
	case len(rest) == 0:
		if l.in = l.in[:0]; cap(l.in) > maxUnwritten {
			l.in = nil
		}
	case len(rest) < len(whole) || len(l.in) == 0:
		l.in = append(l.in[:0], rest...) // may overlap: append copes
	}
	r.pump(l)
	r.checkDrained(l)
}

// frame handles one frame of a link. An error is a fault of the processor's
// that ends the link.
func (r *Relay) frame(l *Link, f unixipc.Frame) error {
	if l.operator {
		r.cfg.Observer.Ordered(l, f)
	}
	switch f.Type {
	case unixipc.Ack:
		r.ack(l, f)
	case unixipc.Nack:
		var body unixipc.NackBody
		if err := decode(f, &body); err != nil {
			return err
		}
		r.nack(l, f, body)
	case unixipc.Send, unixipc.Call, unixipc.Close:
		return r.order(l, f)
	case unixipc.Tap, unixipc.Watch:
		return r.subscribe(l, f)
	case unixipc.Stop:
		r.unsubscribe(l, f.Ref)
	case unixipc.Verdict:
		return r.verdict(l, f)
	case unixipc.Drain:
		r.drain(l)
		l.drained, l.authorizes, l.retired = false, false, notRetired
	case unixipc.Hello:
		return fmt.Errorf("HELLO comes once, first")
	default:
		return fmt.Errorf("%v is not for a processor to send here", f.Type)
	}
	return nil
}

// decode reads the JSON of a frame; an empty payload leaves body as it is.
func decode(f unixipc.Frame, body any) error {
	if len(f.Payload) == 0 {
		return nil
	}
	if len(f.Payload) > unixipc.MaxControl {
		return fmt.Errorf("%v with a payload of %d bytes; at most %d", f.Type, len(f.Payload), unixipc.MaxControl)
	}
	if err := json.Unmarshal(f.Payload, body); err != nil {
		return fmt.Errorf("%v: %w", f.Type, err)
	}
	return nil
}

// Refuse ends a link with REFUSED; what it has unacknowledged moves on at the end
// of the turn.
func (r *Relay) Refuse(l *Link, why string) {
	if l.ended != "" {
		return
	}
	body, _ := json.Marshal(unixipc.RefusedBody{Why: why})
	r.write(l, unixipc.Frame{Type: unixipc.Refused, Payload: body})
	r.end(l, why)
}

// Drain moves the chargers of l elsewhere, as it becomes possible, and delivers
// nothing new to it, on an operator's order. The link stays. Its processor gets
// no DRAINED, because it would only connect again.
func (r *Relay) Drain(l *Link) {
	if !l.draining && l.ended == "" {
		l.retired = retiredLink
		if l.authorizes {
			l.retired = retiredAuthorizer
		}
		l.drained, l.authorizes = true, false
		r.drain(l)
	}
}

// retired is what Undrain takes back.
type retired uint8

const (
	notRetired        retired = iota
	retiredLink               // it joins again
	retiredAuthorizer         // and answers AUTHORIZE again
)

// Undrain takes Drain back: l gets its share of the chargers again. It reports whether
// there was anything to take back; a processor that has sent DRAIN wants no more.
func (r *Relay) Undrain(l *Link) bool {
	if l.retired == notRetired || l.ended != "" {
		return false
	}
	l.draining, l.drained, l.authorizes = false, false, l.retired == retiredAuthorizer
	l.retired = notRetired
	r.rankingChanged()
	r.askAgain(nil)
	return true
}

func (r *Relay) drain(l *Link) {
	if l.draining {
		return
	}
	l.draining = true
	if l.chargers > 0 {
		r.rankingChanged()
	}
}

// checkDrained sends DRAINED to a draining link that has nothing left to do.
func (r *Relay) checkDrained(l *Link) {
	if l.draining && !l.drained && l.inFlight == 0 && l.ended == "" && !r.hasQuestion(l) {
		l.drained = true
		r.write(l, unixipc.Frame{Type: unixipc.Drained})
	}
}
