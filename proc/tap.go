package proc

import (
	"context"
	"time"

	"holdfast/unixipc"
)

// Tapped is a copy of a message of a charger, or toward it.
type Tapped struct {
	Identity  string
	Time      time.Time // when the gateway had it, to the microsecond
	ToCharger bool
	Binary    bool
	Message   []byte
	// Missed, if not zero, is how many copies were not made because this client,
	// or f, does not keep up. Nothing else is set then.
	Missed uint64
	// LinkLost reports that the link to the gateway was down for a while. How
	// much was missed is not known. Nothing else is set then.
	LinkLost bool
}

// Tap calls f with a copy of every message of the chargers whose identity
// matches a glob (see path.Match), in both directions, until ctx ends, whose
// error it returns. Chargers and processors do not notice. Only operators may
// tap: the client must have come in through the admin socket. f is called by
// one goroutine; it may use the client.
func (c *Client) Tap(ctx context.Context, glob string, f func(Tapped)) error {
	fd, err := c.feed(unixipc.Tap, glob)
	if err != nil {
		return err
	}
	defer c.release(fd)
	for {
		frames, missed, err := fd.take(ctx)
		if err != nil {
			return err
		}
		for _, in := range frames {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if in.again {
				f(Tapped{LinkLost: true})
				continue
			}
			if len(in.frame.Key) == 0 {
				if n, ok := unixipc.ParseMissed(in.frame.Payload); ok {
					f(Tapped{Missed: n})
				}
				continue
			}
			at, message, ok := unixipc.ParseTapped(in.frame.Payload)
			if !ok {
				continue
			}
			f(Tapped{
				Identity: string(in.frame.Key), Time: at, Message: message,
				ToCharger: in.frame.Flags&unixipc.ToCharger != 0, Binary: in.frame.Flags&unixipc.Binary != 0,
			})
		}
		if missed > 0 {
			f(Tapped{Missed: missed})
		}
	}
}
