package proc

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"holdfast/unixipc"
)

// call sends an OCPP CALL through order and parses the charger's answer.
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

// newMessageID returns a unique message id of 32 characters; OCPP allows 36.
func newMessageID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // cannot fail
	return hex.EncodeToString(b[:])
}

// timeLimit returns how long a CALL may take, 0 if ctx has no deadline. It is a
// little less than ctx has left: the gateway's RESULT then comes first, and it
// carries more detail than an expired context.
func timeLimit(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	left := time.Until(deadline)
	return max(time.Millisecond, left-min(left/10, 100*time.Millisecond))
}

// parseAnswer reads a CALLRESULT or CALLERROR, OCPP-J section 4.2. A byte-order mark,
// NULs and white space around it count for nothing: some firmware sends them.
func parseAnswer(answer []byte) (json.RawMessage, error) {
	bad := func(why string) (json.RawMessage, error) {
		return nil, &AnswerError{Answer: answer, Why: why}
	}
	var parts []json.RawMessage
	if err := json.Unmarshal(bare(answer), &parts); err != nil {
		return bad(err.Error())
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
			return bad(err.Error())
		}
		if len(parts) > 4 {
			e.Details = parts[4]
		}
		return nil, e
	}
	return bad("it is neither a CALLRESULT nor a CALLERROR")
}

// bare is b without what may stand around its JSON.
func bare(b []byte) []byte {
	const blank = "\x00 \t\r\n"
	return bytes.Trim(bytes.TrimPrefix(bytes.TrimLeft(b, blank), []byte("\xef\xbb\xbf")), blank)
}
