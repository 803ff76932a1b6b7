package proc

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"

	"holdfast/unixipc"
)

// Charger is the charger that a message came from. It may be kept: its methods
// work until Run returns, inside a handler and outside. Two Chargers with the
// same identity are the same charger.
//
// It is also the charger's place in the dispatcher while it has deliveries
// pending here, and forgotten by it as soon as it has none.
type Charger struct {
	identity string
	loop     *loop

	// The rest belongs to the dispatcher.
	queue []delivery   // not yet begun, oldest first
	first [1]delivery  // where queue starts: most chargers have one at a time
	next  *Charger     // behind this one in the run queue
	later atomic.Int32 // see Message.Later
}

// Identity returns the name under which the charger connected.
func (ch *Charger) Identity() string { return ch.identity }

func (ch *Charger) String() string { return ch.identity }

// Send writes a message to the charger, in order with everything else that is
// sent to it, and returns once it is in the charger's socket. A handler that
// sends and then replies has its message written before its reply.
//
// It fails with ErrOffline, ErrClosed, ErrFull, ErrNoLink, ErrLinkLost, a
// *RefusedError, or the error of ctx; after ErrLinkLost or the error of ctx
// the message may have been written all the same.
func (ch *Charger) Send(ctx context.Context, payload []byte, binary bool) error {
	var flags unixipc.Flags
	if binary {
		flags = unixipc.Binary
	}
	if _, err := ch.order(ctx, unixipc.Send, flags, payload); err != nil {
		return fmt.Errorf("send to %s: %w", ch.identity, err)
	}
	return nil
}

// Close closes the charger's connection with a code of RFC 6455 section 7.4
// (0: 1000) and a reason of at most 123 bytes. It returns once the gateway has
// taken the order; Config.Closed follows, at the charger's owner. Errors are
// those of Send.
func (ch *Charger) Close(ctx context.Context, code int, reason string) error {
	return ch.close(ctx, unixipc.CloseBody{Code: code, Reason: reason})
}

// Drop is Close without a Close frame: behind what was sent before, the charger sees
// its TCP connection end. Some firmware connects again only then. CLOSED has the code
// 1006, and reason, which the charger does not get. A gateway of release 0.1 closes
// with 1000 instead.
func (ch *Charger) Drop(ctx context.Context, reason string) error {
	return ch.close(ctx, unixipc.CloseBody{Reason: reason, Drop: true})
}

func (ch *Charger) close(ctx context.Context, order unixipc.CloseBody) error {
	body, err := json.Marshal(order)
	if err == nil {
		_, err = ch.order(ctx, unixipc.Close, 0, body)
	}
	if err != nil {
		return fmt.Errorf("close %s: %w", ch.identity, err)
	}
	return nil
}

// Call sends an OCPP CALL to the charger and returns the payload of the
// CALLRESULT. A charger has one CALL at a time; further ones wait in the
// gateway. The deadline of ctx is the CALL's time limit; without a deadline the
// gateway applies its own. A nil payload is sent as {}.
//
// A handler may call the charger whose message it handles, but not every charger
// answers a CALL while it waits for the answer to its own; and a handler must be
// done before the gateway's -ack-timeout.
//
// It fails with a *CallError when the charger answers with CALLERROR, with
// ErrTimeout when it does not answer in time, an *AnswerError when its answer is no
// OCPP, and otherwise as Send does. If the error also matches ErrNotSent,
// the charger has not received the CALL.
func (ch *Charger) Call(ctx context.Context, action string, payload json.RawMessage) (json.RawMessage, error) {
	return call(ctx, ch.identity, action, payload, ch.order)
}

func (ch *Charger) order(ctx context.Context, what unixipc.Type, flags unixipc.Flags, payload []byte) ([]byte, error) {
	l := ch.loop.link.Load()
	if l == nil {
		return nil, ErrNoLink
	}
	return l.order(ctx, what, flags, ch.identity, payload)
}
