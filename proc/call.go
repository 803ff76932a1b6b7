package proc

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"holdfast/unixipc"
)

// call sends an OCPP CALL by way of order, and reads the answer.
func call(
	ctx context.Context, identity, action string, payload json.RawMessage,
	order func(context.Context, unixipc.Type, unixipc.Flags, []byte) ([]byte, error),
) (json.RawMessage, error) {
	fail := func(err error) (json.RawMessage, error) {
		return nil, fmt.Errorf("call %s at %s: %w", action, identity, err)
	}
	if payload == nil {
		payload = json.RawMessage("{}")
	}
	message, err := json.Marshal([]any{2, newMessageID(), action, payload})
	if err != nil {
		return fail(err)
	}
	answer, err := order(ctx, unixipc.Call, 0, unixipc.AppendCall(nil, timeLimit(ctx), message))
	if err != nil {
		return fail(err)
	}
	result, err := parseAnswer(answer)
	if err != nil {
		return fail(err)
	}
	return result, nil
}

// newMessageID is one that nobody else has: 32 characters, of the 36 that OCPP
// allows.
func newMessageID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // cannot fail
	return hex.EncodeToString(b[:])
}

// timeLimit is what a CALL may take, 0 if ctx does not say. It is a little less
// than ctx has, so that the gateway's word, which tells more, comes first.
func timeLimit(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	left := time.Until(deadline)
	return max(time.Millisecond, left-min(left/10, 100*time.Millisecond))
}

// parseAnswer reads a CALLRESULT or CALLERROR, OCPP-J section 4.2.
func parseAnswer(answer []byte) (json.RawMessage, error) {
	var parts []json.RawMessage
	if err := json.Unmarshal(answer, &parts); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadAnswer, err)
	}
	switch {
	case len(parts) == 3 && string(parts[0]) == "3":
		return parts[2], nil
	case len(parts) >= 3 && string(parts[0]) == "4":
		e := new(CallError)
		err := json.Unmarshal(parts[2], &e.Code)
		if len(parts) > 3 && err == nil {
			err = json.Unmarshal(parts[3], &e.Description)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBadAnswer, err)
		}
		if len(parts) > 4 {
			e.Details = parts[4]
		}
		return nil, e
	}
	return nil, fmt.Errorf("%w: %.200s", ErrBadAnswer, answer)
}
