package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// loopPatience is how long a loop may take to answer a question. It turns, or
// stands still for the moment of an upgrade; else something is badly wrong.
const loopPatience = 5 * time.Second

// errNoTurn says that a loop did not answer in time.
var errNoTurn = errors.New("the loop does not turn")

// ask has f answered on w's loop. If ctx ends first, the answer is lost.
func ask[T any](ctx context.Context, w *world, f func() T) (answer T, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, loopPatience, errNoTurn)
	defer cancel()
	answered := make(chan T, 1)
	w.loop.Post(func() { answered <- f() })
	select {
	case answer = <-answered:
		return answer, nil
	case <-ctx.Done():
		return answer, fmt.Errorf("loop %d: %w", w.index, context.Cause(ctx))
	}
}
