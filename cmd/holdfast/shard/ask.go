package shard

import (
	"context"
	"fmt"
	"time"

	"holdfast/cmd/holdfast/admin"
)

// loopPatience is how long a loop may take to answer a question. It turns, or
// stands still for the moment of an upgrade; else something is badly wrong.
const loopPatience = 5 * time.Second

// Ask runs f on the loop of s and returns its answer. If ctx ends first, the
// answer is lost. It is for goroutines other than the loop's.
func Ask[T any](ctx context.Context, s *Shard, f func() T) (answer T, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, loopPatience, admin.ErrNoTurn)
	defer cancel()
	answered := make(chan T, 1)
	s.Loop.Post(func() { answered <- f() })
	select {
	case answer = <-answered:
		return answer, nil
	case <-ctx.Done():
		return answer, fmt.Errorf("loop %d: %w", s.Index, context.Cause(ctx))
	}
}
