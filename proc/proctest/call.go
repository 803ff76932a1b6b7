package proctest

import (
	"encoding/json"
	"errors"
	"path"
	"time"

	"holdfast/unixipc"
)

// ErrNoAnswer, returned by the function of OnCall, has the CALL time out.
var ErrNoAnswer = errors.New("proctest: no answer")

// CallError is an error that a charger answers with.
type CallError struct {
	Code, Description string
	Details           json.RawMessage // nil: {}
}

func (e *CallError) Error() string { return e.Code + ": " + e.Description }

// OnCall sets how chargers answer CALLs: f returns the payload of a CALLRESULT.
// A *CallError is answered as CALLERROR, ErrNoAnswer with a time-out, any
// other error with CALLERROR InternalError. f is called for one CALL of a
// charger at a time, and may use the Gateway. Without it chargers answer
// NotImplemented.
func (gw *Gateway) OnCall(f func(identity, action string, payload json.RawMessage) (json.RawMessage, error)) {
	gw.mu.Lock()
	defer gw.mu.Unlock()
	gw.onCall = f
}

// call takes a CALL. gw.mu is held.
func (ch *charger) call(l *link, f unixipc.Frame) {
	_, message, ok := unixipc.ParseCall(f.Payload)
	var parts []json.RawMessage
	var id, action string
	if !ok || json.Unmarshal(message, &parts) != nil || len(parts) != 4 || string(parts[0]) != "2" ||
		json.Unmarshal(parts[1], &id) != nil || json.Unmarshal(parts[2], &action) != nil {
		l.result(0, f, unixipc.StatusRefused, "not an OCPP CALL")
		return
	}
	switch {
	case ch.answer != "":
		l.result(0, f, ch.answer, "")
		return
	case !ch.open:
		l.result(0, f, unixipc.StatusOffline, "")
		return
	}
	f.Key, f.Payload = nil, nil // they change
	onCall, connection, payload, began := ch.gw.onCall, ch.connections, append([]byte(nil), parts[3]...), time.Now()
	ch.gw.calls.Go(func() {
		ch.busy.Lock()
		defer ch.busy.Unlock()
		var result json.RawMessage
		var err error = &CallError{Code: "NotImplemented"}
		if onCall != nil {
			result, err = onCall(ch.identity, action, payload)
		}
		ch.gw.mu.Lock()
		defer ch.gw.mu.Unlock()
		f.Key = []byte(ch.identity)
		switch {
		case !ch.open || ch.connections != connection:
			l.put(unixipc.Result, 0, f.Ref, ch.identity, mustJSON(unixipc.ResultBody{Status: unixipc.StatusClosed, Sent: true}))
		case errors.Is(err, ErrNoAnswer):
			l.put(unixipc.Result, 0, f.Ref, ch.identity, mustJSON(unixipc.ResultBody{Status: unixipc.StatusTimeout, Sent: true}))
		default:
			l.put(unixipc.Result, unixipc.Answered, f.Ref, ch.identity, unixipc.AppendAnswer(nil, time.Since(began), answer(id, result, err)))
		}
	})
}

// answer is a CALLRESULT or CALLERROR.
func answer(id string, result json.RawMessage, err error) []byte {
	if err == nil {
		return mustJSON([]any{3, id, result})
	}
	var e *CallError
	if !errors.As(err, &e) {
		e = &CallError{Code: "InternalError", Description: err.Error()}
	}
	details := e.Details
	if details == nil {
		details = json.RawMessage("{}")
	}
	return mustJSON([]any{4, id, e.Code, e.Description, details})
}

// watch takes a WATCH. gw.mu is held.
func (l *link) watch(f unixipc.Frame) error {
	var body unixipc.GlobBody
	if err := unmarshal(f, &body); err != nil {
		return err
	}
	if _, err := path.Match(body.Glob, ""); err != nil || body.Glob == "" {
		l.result(0, f, unixipc.StatusRefused, "no glob")
		return nil
	}
	if l.watches == nil {
		l.watches = map[uint64]string{}
	}
	l.watches[f.Ref] = body.Glob
	l.result(0, f, unixipc.StatusOK, "")
	l.put(unixipc.Seen, 0, f.Ref, "", mustJSON(unixipc.SeenBody{Event: unixipc.SeenBegin}))
	for _, ch := range l.gw.chargers {
		if ch.open && ch.loop() == l.hello.Loop {
			ch.tell(l, f.Ref, unixipc.SeenHeld, nil)
		}
	}
	l.put(unixipc.Seen, 0, f.Ref, "", mustJSON(unixipc.SeenBody{Event: unixipc.SeenEnd}))
	return nil
}

// seen sends SEEN to the links that watch the charger. gw.mu is held.
func (ch *charger) seen(event string, closed *unixipc.ClosedBody) {
	for _, l := range ch.gw.links {
		if l.hello.Loop == ch.loop() {
			for token := range l.watches {
				ch.tell(l, token, event, closed)
			}
		}
	}
}

func (ch *charger) tell(l *link, token uint64, event string, closed *unixipc.ClosedBody) {
	if ok, _ := path.Match(l.watches[token], ch.identity); !ok {
		return
	}
	body := unixipc.SeenBody{Event: event, ClosedBody: closed}
	if closed == nil {
		opened := ch.openedBody()
		body.OpenedBody = &opened
		if ch.owner != nil {
			body.Processor = ch.owner.hello.Name
		}
	}
	l.put(unixipc.Seen, 0, token, ch.identity, mustJSON(body))
}
