package relay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"holdfast/unixipc"
)

// Asker identifies the link that gave an order, by its loop and its id there.
type Asker struct {
	Loop int
	Link uint32
}

// order is a SEND, CALL or CLOSE, with the link that gave it.
type order struct {
	from     Asker
	operator bool
	frame    unixipc.Frame
	close    unixipc.CloseBody
}

// order carries out SEND, CALL or CLOSE, here or in the charger's loop. An
// error is a fault of the processor's.
func (r *Relay) order(l *Link, f unixipc.Frame) error {
	o := order{from: Asker{r.cfg.Loop, l.id}, operator: l.operator, frame: f}
	if f.Type == unixipc.Close {
		if err := decode(f, &o.close); err != nil {
			return err
		}
	}
	if loop := LoopOf(string(f.Key), r.cfg.Loops); loop != r.cfg.Loop {
		o.frame.Key, o.frame.Payload = bytes.Clone(f.Key), bytes.Clone(f.Payload)
		size := len(f.Key) + len(f.Payload) + forwardCost
		l.forwarded += size
		r.gateway.Forward(loop, func(there *Relay) {
			there.carryOut(o)
			there.gateway.Forward(o.from.Loop, func(back *Relay) { back.arrived(o.from.Link, size) })
		})
		return nil
	}
	r.carryOut(o)
	return nil
}

// forwardCost is what an order costs, beyond its bytes, that waits for another loop.
const forwardCost = 256

// arrived records that another loop has carried out an order of the link id.
func (r *Relay) arrived(id uint32, size int) {
	l := r.link(id)
	if l == nil {
		return
	}
	ahead := l.Ahead()
	if l.forwarded = max(0, l.forwarded-size); ahead && !l.Ahead() { // 0: an upgrade came between
		r.wake(l)
	}
}

func (r *Relay) carryOut(o order) {
	f, body := o.frame, o.close
	c := r.chargers[string(f.Key)]
	result := unixipc.ResultBody{Status: unixipc.StatusOK}
	refuse := func(why string) { result = unixipc.ResultBody{Status: unixipc.StatusRefused, Detail: why} }
	switch {
	case f.Type == unixipc.Call:
		if result = r.acceptCall(o.from, f); result.Status == unixipc.StatusOK {
			return // the result follows with the answer
		}
	case c == nil || !c.connected:
		result.Status = unixipc.StatusOffline
	case f.Type == unixipc.Close:
		switch {
		case body.Drop && body.Code != 0:
			refuse("a connection that is dropped has no close code")
		case body.Code != 0 && !closeCode(body.Code):
			refuse(fmt.Sprintf("close code %d is not for a processor to send", body.Code))
		case !utf8.ValidString(body.Reason) || len(body.Reason) > 123:
			refuse("a close reason is UTF-8 of at most 123 bytes")
		default:
			by := "processor"
			if o.operator {
				by = "operator"
			}
			if body.Code == 0 && !body.Drop {
				body.Code = 1000
			}
			r.gateway.Close(c.conn, body, by)
		}
	case f.Flags&unixipc.Binary == 0 && !utf8.Valid(f.Payload):
		refuse("text is not UTF-8")
	default:
		position, status := r.toCharger(c, f.Payload, f.Flags&unixipc.Binary != 0)
		if status == unixipc.StatusOK {
			q := r.queueOf(c)
			q.sends = append(q.sends, send{position: position, asker: o.from, ref: f.Ref})
			return // the result follows when it is written
		}
		result.Status = status
	}
	r.sendResult(o.from, 0, f.Ref, string(f.Key), result)
}

// closeCode reports whether a processor may close a connection with code.
func closeCode(code int) bool {
	return code == 1000 || code == 1001 || code == 1003 || code == 1008 ||
		code >= 1011 && code <= 1014 || code >= 3000 && code <= 4999
}

// sendResult sends a RESULT to the link that asked, in any loop. If that link has
// ended, the RESULT is dropped.
func (r *Relay) sendResult(to Asker, flags unixipc.Flags, ref uint64, identity string, body unixipc.ResultBody) {
	payload, _ := json.Marshal(body)
	r.routeResult(to, unixipc.Frame{Type: unixipc.Result, Flags: flags, Ref: ref, Key: []byte(identity), Payload: payload})
}

// routeResult sends a complete RESULT frame to a link of any loop. If that link
// has ended or does not read, and the RESULT has a charger's answer to a CALL,
// the answer goes to the charger's owner.
func (r *Relay) routeResult(to Asker, f unixipc.Frame) {
	if to.Loop != r.cfg.Loop {
		r.gateway.Forward(to.Loop, func(there *Relay) { there.routeResult(to, f) })
		return
	}
	l := r.link(to.Link)
	if l != nil && len(l.Unwritten()) > r.cfg.LinkBacklog {
		r.Refuse(l, "does not read the results of its orders")
		l = nil
	}
	if l != nil {
		r.write(l, f)
		return
	}
	if _, message, ok := unixipc.ParseAnswer(f.Payload); ok && f.Flags&unixipc.Answered != 0 {
		r.answerOwner(string(f.Key), f.Flags, message)
	}
}

// answerOwner passes the answer to a CALL, whose asker is gone, on to the charger's
// owner; flags are those of the RESULT.
func (r *Relay) answerOwner(identity string, flags unixipc.Flags, message []byte) {
	flags &= unixipc.Binary | unixipc.Malformed
	if loop := LoopOf(identity, r.cfg.Loops); loop != r.cfg.Loop {
		r.gateway.Forward(loop, func(there *Relay) { there.lateAnswer(identity, flags, message) })
		return
	}
	r.lateAnswer(identity, flags, message)
}
