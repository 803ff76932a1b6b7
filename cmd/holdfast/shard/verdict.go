package shard

import (
	"context"
	"errors"

	"holdfast/cmd/holdfast/admin"
	"holdfast/relay"
	"holdfast/unixipc"
)

// Verdict asks a processor whether a charger may come in, and waits until it
// has answered, or the deadline of ctx. It is for goroutines other than the
// loop's. Where the links have been handed over, the new process asks, by the
// admin socket.
func (w *Shard) Verdict(ctx context.Context, body unixipc.AuthorizeBody, adminSocket string) (v unixipc.VerdictBody, err error) {
	type word struct {
		verdict unixipc.VerdictBody
		err     error
	}
	said := make(chan word, 1)
	deadline, _ := ctx.Deadline()
	w.Loop.Post(func() {
		if w.Successor != nil {
			said <- word{err: relay.ErrMoved}
			return
		}
		w.Relay.Authorize(body, body.Subprotocol, deadline, func(v unixipc.VerdictBody, err error) { said <- word{v, err} })
	})
	select {
	case got := <-said:
		if errors.Is(got.err, relay.ErrMoved) {
			return admin.AskVerdict(ctx, body, adminSocket)
		}
		return got.verdict, got.err
	case <-ctx.Done(): // the relay's deadline is the same
		return v, relay.ErrNoVerdict
	}
}
