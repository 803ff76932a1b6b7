package proc

import (
	"context"
	"io"
	"log/slog"
	"testing"
)

// A loop that the gateway does not have any more is given up, and taken up
// again when it is back.
func TestLoopsFollowTheGateway(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r := newRunner(Config{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}, "/nowhere", nil)
	r.gone = ctx
	loops := func() int {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.loops)
	}
	for _, n := range []int{3, 1, 2} {
		r.grow(ctx, n)
		waitFor(t, func() bool { return loops() == n })
	}
	cancel()
	r.links.Wait()
}
