package proc

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"holdfast/unixipc"
)

// Outcomes of an order (Charger.Send, Call, Close; Client) that was not carried out.
// Match them with errors.Is.
var (
	// ErrOffline: no such charger is connected.
	ErrOffline = errors.New("charger is offline")
	// ErrClosed: the connection ended before the message was written, or the
	// CALL answered.
	ErrClosed = errors.New("the charger's connection ended first")
	// ErrFull: the charger does not read and its buffer is full, or too many
	// CALLs wait for it.
	ErrFull = errors.New("too much waits for the charger already")
	// ErrTimeout: the charger did not answer a CALL in time.
	ErrTimeout = errors.New("charger did not answer in time")
	// ErrNotSent accompanies another error: the charger has not received the
	// CALL, so it is safe to send it again.
	ErrNotSent = errors.New("it was not sent")
	// ErrBadAnswer: the charger's answer to a CALL is not valid OCPP. The error is an
	// *AnswerError.
	ErrBadAnswer = errors.New("the charger's answer is malformed")
	// ErrNoLink: there is no link to the gateway now. The order was not sent,
	// so it is safe to try again.
	ErrNoLink = errors.New("no link to the gateway")
	// ErrLinkLost: the link ended after the order was sent and before its
	// outcome came back. It may have been carried out or not.
	ErrLinkLost = errors.New("link to the gateway lost, outcome unknown")
)

// ErrDrainTimeout is returned by Run when handlers were still busy at the end
// of Config.DrainTimeout. The gateway redelivers what they left.
var ErrDrainTimeout = errors.New("processor not drained in time")

// RefusedError reports that the gateway rejected what it was sent.
type RefusedError struct {
	What string // HELLO, SEND, CALL, CLOSE, TAP or WATCH; ACK: a reply; "link" for a fault in the middle of a link
	Why  string // in the gateway's words
	// Versions of the protocol that the gateway speaks, if it does not speak that
	// of the HELLO. Older gateways name them with every reason.
	Versions []int
}

func (e *RefusedError) Error() string { return "gateway refused " + e.What + ": " + e.Why }

// CallError is the CALLERROR that a charger has answered a CALL with.
type CallError struct {
	Code        string // such as NotSupported
	Description string
	Details     json.RawMessage
}

func (e *CallError) Error() string {
	if e.Description == "" {
		return "charger answered " + e.Code
	}
	return "charger answered " + e.Code + ": " + e.Description
}

// AnswerError is an answer to a CALL that is not valid OCPP, such as one that was cut
// off, or has a NUL in a string. It matches ErrBadAnswer.
type AnswerError struct {
	Answer []byte // as the charger sent it: any bytes
	Why    string
}

func (e *AnswerError) Error() string {
	text := fmt.Sprintf("%.200q", e.Answer)
	if more := len(e.Answer) - 200; more > 0 {
		text += fmt.Sprintf(" and %d bytes more", more)
	}
	return fmt.Sprintf("%v: %s: %s", ErrBadAnswer, e.Why, text)
}

func (e *AnswerError) Unwrap() error { return ErrBadAnswer }

// outcomeError turns the RESULT of an order into an error, nil if it was done.
func outcomeError(what unixipc.Type, r unixipc.ResultBody) error {
	err := statusError(what, r)
	if err != nil && what == unixipc.Call && !r.Sent {
		return fmt.Errorf("%w; %w", err, ErrNotSent)
	}
	return err
}

func statusError(what unixipc.Type, r unixipc.ResultBody) error {
	switch r.Status {
	case unixipc.StatusOK:
		return nil
	case unixipc.StatusTimeout:
		return ErrTimeout
	case unixipc.StatusOffline:
		return ErrOffline
	case unixipc.StatusClosed:
		return ErrClosed
	case unixipc.StatusFull:
		return ErrFull
	case unixipc.StatusRefused:
		return &RefusedError{What: what.String(), Why: r.Detail}
	}
	return &RefusedError{What: what.String(), Why: fmt.Sprintf("%s %s", r.Status, r.Detail)}
}

// RetryAfter wraps the error of a Handler with the pause after which the
// message is to be delivered again, in steps of a millisecond. It returns nil
// if err is nil.
func RetryAfter(err error, d time.Duration) error {
	if err == nil {
		return nil
	}
	return &retryError{err, max(d, 0)}
}

type retryError struct {
	err   error
	after time.Duration
}

func (e *retryError) Error() string { return e.err.Error() }
func (e *retryError) Unwrap() error { return e.err }

// retryAfter is the pause that a handler's error asks for.
func retryAfter(err error) time.Duration {
	if r, ok := errors.AsType[*retryError](err); ok {
		return r.after
	}
	return DefaultRetry
}
