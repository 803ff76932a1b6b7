package proctest

import (
	"context"
	"errors"
	"fmt"

	"holdfast/unixipc"
)

// ErrLinkLost reports that the processor left before it sent a VERDICT. A real
// gateway then asks another one.
var ErrLinkLost = errors.New("proctest: the link ended before the VERDICT")

// Authorize asks whether a charger may connect. It waits for a processor that
// answers AUTHORIZE, asks the one that joined first, and returns its verdict. The note of
// one that accepts is that of the charger's next connection.
func (gw *Gateway) Authorize(ctx context.Context, a AuthorizeBody) (v VerdictBody, err error) {
	var asked *link
	said := make(chan VerdictBody, 1)
	err = gw.wait(ctx, "a processor that authorizes", func() bool {
		for _, l := range gw.links {
			if l.hello.Authorize && !l.draining {
				asked = l
				if l.asked == nil {
					l.asked = map[uint64]chan VerdictBody{}
				}
				gw.questions++
				l.asked[gw.questions] = said
				a.Note = gw.charger(a.Identity).note
				l.put(unixipc.Authorize, 0, gw.questions, "", mustJSON(a))
				return true
			}
		}
		return false
	})
	if err != nil {
		return v, err
	}
	gone := make(chan struct{})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		if gw.wait(ctx, "the end of a link", func() bool { return !gw.has(asked) }) == nil {
			close(gone)
		}
	}()
	select {
	case v = <-said:
		gw.mu.Lock()
		defer gw.mu.Unlock()
		if v.Accept {
			gw.charger(a.Identity).verdictNote = v.Note
		}
		return v, nil
	case <-gone:
		return v, ErrLinkLost
	case <-ctx.Done():
		return v, fmt.Errorf("proctest: waiting for a VERDICT: %w", ctx.Err())
	}
}

// has reports whether l is joined. gw.mu is held.
func (gw *Gateway) has(l *link) bool {
	for _, o := range gw.links {
		if o == l {
			return true
		}
	}
	return false
}
