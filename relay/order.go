package relay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"unicode/utf8"

	"holdfast/unixipc"
)

// Asker is who gave an order: a link of some loop.
type Asker struct {
	Loop int
	Link uint32
}

// order carries out SEND, CALL or CLOSE, here or in the charger's loop. An
// error is a fault of the processor's.
func (r *Relay) order(from Asker, f unixipc.Frame) error {
	var body unixipc.CloseBody
	if f.Type == unixipc.Close {
		if err := decode(f, &body); err != nil {
			return err
		}
	}
	if loop := LoopOf(string(f.Key), r.cfg.Loops); loop != r.cfg.Loop {
		f.Key, f.Payload = bytes.Clone(f.Key), bytes.Clone(f.Payload)
		r.gateway.Forward(loop, func(there *Relay) { there.carryOut(from, f, body) })
		return nil
	}
	r.carryOut(from, f, body)
	return nil
}

func (r *Relay) carryOut(from Asker, f unixipc.Frame, body unixipc.CloseBody) {
	c := r.chargers[string(f.Key)]
	result := unixipc.ResultBody{Status: unixipc.StatusOK}
	refuse := func(why string) { result = unixipc.ResultBody{Status: unixipc.StatusRefused, Detail: why} }
	switch {
	case f.Type == unixipc.Call:
		result = unixipc.ResultBody{Status: unixipc.StatusUnsupported, Detail: "CALL comes with a later version"}
	case c == nil || !c.connected:
		result.Status = unixipc.StatusOffline
	case f.Type == unixipc.Close:
		if body.Code == 0 {
			body.Code = 1000
		}
		switch {
		case !closeCode(body.Code):
			refuse(fmt.Sprintf("close code %d is not for a processor to send", body.Code))
		case !utf8.ValidString(body.Reason) || len(body.Reason) > 123:
			refuse("a close reason is UTF-8 of at most 123 bytes")
		default:
			r.gateway.Close(c.conn, body.Code, body.Reason)
		}
	case f.Flags&unixipc.Binary == 0 && !utf8.Valid(f.Payload):
		refuse("text is not UTF-8")
	default:
		position, status := r.gateway.Send(c.conn, f.Payload, f.Flags&unixipc.Binary != 0)
		if status == unixipc.StatusOK {
			q := r.queueOf(c)
			q.sends = append(q.sends, send{position: position, asker: from, ref: f.Ref})
			return // the result follows when it is written
		}
		result.Status = status
	}
	r.answer(from, 0, f.Ref, string(f.Key), result)
}

// closeCode tells whether a processor may close a connection with code.
func closeCode(code int) bool {
	return code == 1000 || code == 1001 || code == 1003 || code == 1008 ||
		code >= 1011 && code <= 1014 || code >= 3000 && code <= 4999
}

// answer sends a RESULT to whoever asked, in whichever loop; to nobody if that
// link is gone.
func (r *Relay) answer(to Asker, flags unixipc.Flags, ref uint64, identity string, body unixipc.ResultBody) {
	if to.Loop != r.cfg.Loop {
		r.gateway.Forward(to.Loop, func(there *Relay) { there.answer(to, flags, ref, identity, body) })
		return
	}
	i := slices.IndexFunc(r.links, func(l *Link) bool { return l.id == to.Link })
	if i < 0 {
		return
	}
	payload, _ := json.Marshal(body)
	r.write(r.links[i], unixipc.Frame{Type: unixipc.Result, Flags: flags, Ref: ref, Key: []byte(identity), Payload: payload})
}
