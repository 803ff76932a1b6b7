package shard

import (
	"context"
	"errors"

	"holdfast/cmd/holdfast/admin"
	"holdfast/relay"
	"holdfast/unixipc"
)

// Verdict asks a processor whether a charger may come in, and returns when it
// has answered, or at the deadline of ctx. It is for goroutines other than the
// loop's. When the shard has been handed over, the question goes to the new
// process, through the admin socket.
func (s *Shard) Verdict(ctx context.Context, body unixipc.AuthorizeBody, adminSocket string) (unixipc.VerdictBody, error) {
	type answer struct {
		verdict unixipc.VerdictBody
		err     error
	}
	answered := make(chan answer, 1)
	deadline, _ := ctx.Deadline()
	s.Loop.Post(func() {
		if s.late != nil {
			answered <- answer{err: relay.ErrMoved}
			return
		}
		s.Relay.Authorize(body, body.Subprotocol, deadline, func(v unixipc.VerdictBody, err error) { answered <- answer{v, err} })
	})
	select {
	case a := <-answered:
		if errors.Is(a.err, relay.ErrMoved) {
			return admin.AskVerdict(ctx, body, adminSocket)
		}
		return a.verdict, a.err
	case <-ctx.Done(): // the relay's deadline is the same
		return unixipc.VerdictBody{}, relay.ErrNoVerdict
	}
}
