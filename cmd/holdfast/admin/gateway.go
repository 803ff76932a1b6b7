package admin

import (
	"context"
	"errors"
	"net"

	"holdfast/unixipc"
)

// Gateway is what the commands act on. Its methods may be called from any
// goroutine. Their errors are answered with 404, but ErrReplaced and ErrNoTurn with
// 503, upon which a Client asks again.
type Gateway interface {
	Status(ctx context.Context) (*Status, error)
	// Chargers describes the connected chargers whose identity matches glob.
	Chargers(ctx context.Context, glob string) ([]ChargerStatus, error)
	// Drain moves the chargers of a processor elsewhere, and returns how many
	// links it has.
	Drain(ctx context.Context, processor string) (links int, err error)
	// Join takes over an operator's connection that becomes a link; early was
	// read from it.
	Join(c *net.UnixConn, early []byte)
	// Authorize asks a processor, until the deadline of ctx.
	Authorize(ctx context.Context, body unixipc.AuthorizeBody) (unixipc.VerdictBody, error)
}

// ErrNoTurn is returned when a loop does not answer in time.
var ErrNoTurn = errors.New("the loop does not turn")

// ErrReplaced is returned when another process has taken over, or is about to.
var ErrReplaced = errors.New("this process has been replaced, or ends")
