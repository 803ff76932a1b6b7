package admin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"holdfast/unixipc"
)

// Gateway is what the commands act on. Its methods may be called from any goroutine.
// Their errors are answered with 404, but LastError with 409, and ErrReplaced and
// ErrNoTurn with 503, upon which a Client asks again.
type Gateway interface {
	Status(ctx context.Context) (*Status, error)
	// Chargers describes the connected chargers whose identity matches glob.
	Chargers(ctx context.Context, glob string) ([]ChargerStatus, error)
	// Drain moves the chargers of a processor elsewhere, and returns how many
	// links it has. Without force it refuses with a LastError if there is nowhere.
	Drain(ctx context.Context, processor string, force bool) (links int, err error)
	// Undrain takes back what Drain has done to a processor that is still there, and
	// returns with how many of its links.
	Undrain(ctx context.Context, processor string) (links int, err error)
	// Block keeps a charger or a range of addresses from connecting, until a time (zero:
	// for ever), and begins to close those that are connected. It returns how many.
	Block(ctx context.Context, target string, until time.Time, reason string) (closed int, err error)
	// Unblock takes a block back.
	Unblock(target string) error
	// Blocks returns those that hold, sorted by target.
	Blocks() ([]BlockStatus, error)
	// Join takes over an operator's connection that becomes a link; early was
	// read from it.
	Join(c *net.UnixConn, early []byte)
	// Authorize asks a processor, until the deadline of ctx.
	Authorize(ctx context.Context, body unixipc.AuthorizeBody) (unixipc.VerdictBody, error)
}

// LastError refuses to drain the last processor of some subprotocols.
type LastError struct {
	Processor    string
	Subprotocols []string
}

func (e *LastError) Error() string {
	return fmt.Sprintf("%s is the only processor that takes %s: messages of those chargers would wait; -force drains it all the same", e.Processor, strings.Join(e.Subprotocols, ", "))
}

// ErrNoBlocks is returned by the methods for blocks of a gateway that keeps none.
var ErrNoBlocks = errors.New("the gateway keeps no blocks: set the option blocks to a file")

// ErrNoTurn is returned when a loop does not answer in time.
var ErrNoTurn = errors.New("the loop does not turn")

// ErrReplaced is returned when another process has taken over, or is about to.
var ErrReplaced = errors.New("this process has been replaced, or ends")
