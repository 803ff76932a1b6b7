package proc

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"holdfast/unixipc"
)

// Held is a charger that the gateway holds.
type Held struct {
	Identity string
	OpenedBody
	Processor string // that owns it; empty: none
	Queued    int    // deliveries unacknowledged
}

// Change is one change that Watch reports. Exactly one of its fields is set.
type Change struct {
	// Opened: a charger is held; it was held before if All has not come yet.
	Opened *Held
	// Closed: the connection of a charger has ended. What is not known of it,
	// because the link was down, has code 0.
	Closed *Closed
	// All: every charger that was held when Watch began has been reported.
	All bool
}

// Closed is the end of a charger's connection.
type Closed struct {
	Identity string
	ClosedBody
}

// List returns the chargers that the gateway holds and whose identity matches a
// glob (see path.Match), sorted by identity.
func (c *Client) List(ctx context.Context, glob string) ([]Held, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	held := map[string]Held{}
	complete := false
	err := c.Watch(ctx, glob, func(ch Change) {
		switch {
		case complete:
		case ch.Opened != nil:
			held[ch.Opened.Identity] = *ch.Opened
		case ch.Closed != nil:
			delete(held, ch.Closed.Identity)
		default:
			complete = true
			cancel()
		}
	})
	if !complete {
		return nil, err
	}
	return slices.SortedFunc(maps.Values(held), func(a, b Held) int { return strings.Compare(a.Identity, b.Identity) }), nil
}

// Watch calls f with the chargers that the gateway holds and whose identity
// matches a glob (see path.Match), and then with every change, until ctx ends,
// whose error it returns. A charger that connects anew is reported closed first,
// even if the link to the gateway was down in between. f is called by one
// goroutine; it may use the client.
func (c *Client) Watch(ctx context.Context, glob string, f func(Change)) error {
	fd, err := c.feed(unixipc.Watch, glob)
	if err != nil {
		return err
	}
	defer c.release(fd)
	w := watcher{tell: f, loops: map[int]*view{}}
	for {
		frames, _, err := fd.take(ctx)
		if err != nil {
			return err
		}
		for _, in := range frames {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err := w.see(in); err != nil {
				return err
			}
		}
		c.r.mu.Lock()
		count := c.r.count
		c.r.mu.Unlock()
		if !w.all && w.listed(count) {
			w.all = true
			f(Change{All: true})
		}
	}
}

// watcher turns the SEEN frames of all links into changes.
type watcher struct {
	tell  func(Change)
	loops map[int]*view
	all   bool
}

// view is what is held in a loop.
type view struct {
	held   map[string]time.Time // by identity, since when
	again  map[string]bool      // reported since the list began; nil: it is complete
	listed bool
}

func (w *watcher) listed(loops int) bool {
	for i := range loops {
		if v := w.loops[i]; v == nil || !v.listed {
			return false
		}
	}
	return true
}

func (w *watcher) see(in fed) error {
	if in.again {
		return nil // the list begins anew
	}
	var body unixipc.SeenBody
	if err := json.Unmarshal(in.frame.Payload, &body); err != nil {
		return fmt.Errorf("read SEEN of %q: %w", in.frame.Key, err)
	}
	v := w.loops[in.loop]
	if v == nil {
		v = &view{held: map[string]time.Time{}}
		w.loops[in.loop] = v
	}
	identity := string(in.frame.Key)
	switch body.Event {
	case unixipc.SeenBegin:
		v.again = map[string]bool{}
	case unixipc.SeenEnd:
		for identity := range v.held {
			if v.again != nil && !v.again[identity] {
				w.closed(v, identity, unixipc.ClosedBody{})
			}
		}
		v.again, v.listed = nil, true
	case unixipc.SeenHeld, unixipc.SeenOpened:
		if body.OpenedBody == nil {
			body.OpenedBody = new(unixipc.OpenedBody)
		}
		if v.again != nil {
			v.again[identity] = true
		}
		since, known := v.held[identity]
		if known && since.Equal(body.Opened) {
			return nil
		}
		if known {
			w.closed(v, identity, unixipc.ClosedBody{})
		}
		v.held[identity] = body.Opened
		w.tell(Change{Opened: &Held{identity, *body.OpenedBody, body.Processor, body.Queued}})
	case unixipc.SeenClosed:
		if body.ClosedBody == nil {
			body.ClosedBody = new(unixipc.ClosedBody)
		}
		w.closed(v, identity, *body.ClosedBody)
	}
	return nil
}

func (w *watcher) closed(v *view, identity string, why unixipc.ClosedBody) {
	if _, known := v.held[identity]; known {
		delete(v.held, identity)
		w.tell(Change{Closed: &Closed{identity, why}})
	}
}
