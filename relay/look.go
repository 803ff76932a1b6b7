package relay

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"holdfast/unixipc"
)

// maxSubscriptions is how many taps, and how many watches, a link may have.
const maxSubscriptions = 16

// subscribe starts a TAP or WATCH. An error is a fault of the processor's.
func (r *Relay) subscribe(l *Link, f unixipc.Frame) error {
	var body unixipc.GlobBody
	if err := decode(f, &body); err != nil {
		return err
	}
	refused := ""
	_, malformed := path.Match(body.Glob, "")
	switch {
	case f.Type == unixipc.Tap && !l.operator:
		refused = "messages are shown to operators only"
	case len(body.Glob) == 0 || len(body.Glob) > unixipc.MaxGlob:
		refused = fmt.Sprintf("a glob has 1 to %d bytes", unixipc.MaxGlob)
	case malformed != nil:
		refused = fmt.Sprintf("%q is no glob: %v", body.Glob, malformed)
	case l.subscribed(f.Ref):
		refused = "the token is that of another TAP or WATCH"
	case f.Type == unixipc.Tap && len(l.taps) == maxSubscriptions || f.Type == unixipc.Watch && len(l.watches) == maxSubscriptions:
		refused = fmt.Sprintf("%d are the most that a link may have", maxSubscriptions)
	}
	result := unixipc.ResultBody{Status: unixipc.StatusOK}
	if refused != "" {
		result = unixipc.ResultBody{Status: unixipc.StatusRefused, Detail: refused}
	}
	r.sendResult(Asker{r.cfg.Loop, l.id}, 0, f.Ref, "", result)
	switch {
	case refused != "":
	case f.Type == unixipc.Tap:
		l.taps = append(l.taps, tap{token: f.Ref, glob: body.Glob})
	default:
		l.watches = append(l.watches, watch{token: f.Ref, glob: body.Glob, unlisted: true})
	}
	r.noteSubscribers()
	return nil
}

func (l *Link) subscribed(token uint64) bool {
	return slices.ContainsFunc(l.taps, func(t tap) bool { return t.token == token }) ||
		slices.ContainsFunc(l.watches, func(w watch) bool { return w.token == token })
}

// unsubscribe ends a TAP or WATCH. Nothing of it comes after the RESULT.
func (r *Relay) unsubscribe(l *Link, token uint64) {
	result := unixipc.ResultBody{Status: unixipc.StatusOK}
	if !l.subscribed(token) {
		result = unixipc.ResultBody{Status: unixipc.StatusRefused, Detail: "the token is that of no TAP or WATCH"}
	}
	l.taps = slices.DeleteFunc(l.taps, func(t tap) bool { return t.token == token })
	l.watches = slices.DeleteFunc(l.watches, func(w watch) bool { return w.token == token })
	r.sendResult(Asker{r.cfg.Loop, l.id}, 0, token, "", result)
	r.noteSubscribers()
}

// noteSubscribers records whether any link has taps or watches. Without them,
// messages cost nothing extra.
func (r *Relay) noteSubscribers() {
	r.tapped, r.watched = false, false
	for _, l := range r.links {
		r.tapped = r.tapped || len(l.taps) > 0
		r.watched = r.watched || len(l.watches) > 0
	}
}

// matches is path.Match of a glob that is known to be one.
func matches(glob, identity string) bool {
	if glob == "*" && !strings.Contains(identity, "/") {
		return true
	}
	ok, _ := path.Match(glob, identity)
	return ok
}

// A tap has copies made of the messages of chargers, both ways.
type tap struct {
	token  uint64
	glob   string
	missed uint64 // copies that were not made, and not reported yet
}

// tap sends copies of a message to the links that have taps for c. It never
// waits: for a link that does not read, it counts the missed copies.
func (r *Relay) tap(c *Charger, flags unixipc.Flags, message []byte) {
	if !r.tapped {
		return
	}
	for _, l := range r.links {
		for i := range l.taps {
			t := &l.taps[i]
			switch {
			case !matches(t.glob, c.identity):
			case l.Congested() || t.missed > 0:
				t.missed++
			default:
				l.out = unixipc.AppendHeader(l.out, unixipc.Tapped, flags, t.token, c.identity, unixipc.TappedPrefix+len(message))
				l.out = append(unixipc.AppendTapped(l.out, r.now), message...)
				r.wake(l)
			}
		}
	}
}

// reportMissed sends the number of missed copies to a link that reads again.
func (r *Relay) reportMissed(l *Link) {
	for i := range l.taps {
		if t := &l.taps[i]; t.missed > 0 {
			r.write(l, unixipc.Frame{Type: unixipc.Tapped, Ref: t.token, Payload: unixipc.AppendMissed(nil, t.missed)})
			t.missed = 0
		}
	}
}

// A watch reports which chargers are connected: first a list, then the changes.
// If the link does not read, changes are dropped and the list starts again.
type watch struct {
	token    uint64
	glob     string
	unlisted bool // the list has not begun
	listing  bool
	next     int // slot to be listed next
	end      int // slots when the list began: later ones were reported as they came
}

// In one turn of the loop, a list goes on by listSlice chargers or scanSlice slots.
const (
	listSlice = 256
	scanSlice = 4096
)

// listing reports whether there is something to list, for a link that reads.
func (r *Relay) listing() bool {
	for _, l := range r.links {
		if slices.ContainsFunc(l.watches, func(w watch) bool { return w.unlisted || w.listing }) && !l.Congested() {
			return true
		}
	}
	return false
}

// list continues all lists by one slice.
func (r *Relay) list() {
	for _, l := range slices.Clone(r.links) {
		for i := range l.watches {
			if !l.Congested() {
				r.listOn(l, &l.watches[i])
			}
		}
	}
}

func (r *Relay) listOn(l *Link, w *watch) {
	if w.unlisted {
		w.unlisted, w.listing = false, true
		w.next, w.end = 0, r.slots.used
		r.writeSeen(l, w, "", unixipc.SeenBody{Event: unixipc.SeenBegin})
	}
	if !w.listing {
		return
	}
	stop := min(w.end, w.next+scanSlice)
	for listed := 0; w.next < stop && listed < listSlice; w.next++ {
		if c := r.slots.at(w.next); c.connected && matches(w.glob, c.identity) {
			opened := r.gateway.Describe(c.conn)
			r.writeSeen(l, w, c.identity, r.fillSeen(c, unixipc.SeenBody{Event: unixipc.SeenHeld, OpenedBody: &opened}))
			listed++
		}
	}
	if w.next == w.end {
		w.listing = false
		r.writeSeen(l, w, "", unixipc.SeenBody{Event: unixipc.SeenEnd})
	}
}

// fillSeen adds the owner and the queue of c to body.
func (r *Relay) fillSeen(c *Charger, body unixipc.SeenBody) unixipc.SeenBody {
	if c.owner != nil {
		body.Processor = c.owner.name
	}
	if c.q != nil {
		body.Queued = len(c.q.entries)
	}
	return body
}

// reportSeen sends body, about c, to the links that watch c.
func (r *Relay) reportSeen(c *Charger, body unixipc.SeenBody) {
	if !r.watched {
		return
	}
	if body.Event == unixipc.SeenOpened {
		body = r.fillSeen(c, body)
	}
	for _, l := range r.links {
		for i := range l.watches {
			w := &l.watches[i]
			switch {
			case w.unlisted || !matches(w.glob, c.identity):
			case l.Congested():
				w.unlisted, w.listing = true, false
			default:
				r.writeSeen(l, w, c.identity, body)
			}
		}
	}
}

func (r *Relay) writeSeen(l *Link, w *watch, identity string, body unixipc.SeenBody) {
	payload, _ := json.Marshal(body)
	r.write(l, unixipc.Frame{Type: unixipc.Seen, Ref: w.token, Key: []byte(identity), Payload: payload})
}
