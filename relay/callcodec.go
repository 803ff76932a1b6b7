package relay

import (
	"math"
	"time"
	"unicode/utf8"

	"holdfast/unixipc/tlv"
)

// The fields of a call's state; see codec.go for the rules.
const (
	callLoop    = 1
	callLink    = 2 // left out: the asker is gone
	callRef     = 3
	callID      = 4
	callAge     = 5
	callLeft    = 6 // time until its limit
	callMessage = 7 // left out: it was sent
)

func (k *call) append(dst []byte, now time.Time) []byte {
	dst = tlv.AppendUint(dst, callLoop, uint64(k.asker.Loop))
	dst = tlv.AppendUint(dst, callLink, uint64(k.asker.Link))
	dst = tlv.AppendUint(dst, callRef, k.ref)
	dst = tlv.AppendBytes(dst, callID, k.id)
	dst = tlv.AppendUint(dst, callAge, uint64(min(max(0, now.Sub(k.began)), maxDelay).Milliseconds()))
	dst = tlv.AppendUint(dst, callLeft, uint64(min(max(0, k.limit.Sub(now)+time.Millisecond-1), maxDelay)/time.Millisecond))
	return tlv.AppendBytes(dst, callMessage, k.message)
}

func parseCall(b []byte, now time.Time) (*call, error) {
	f := tlv.NewFields("call", b)
	k := &call{began: now, limit: now}
	most := uint64(maxDelay.Milliseconds())
	for {
		id, ok := f.Next()
		if !ok {
			return k, f.Err()
		}
		switch id {
		case callLoop:
			k.asker.Loop = int(f.Uint(math.MaxUint16))
		case callLink:
			k.asker.Link = uint32(f.Uint(math.MaxUint32))
		case callRef:
			k.ref = f.Uint(math.MaxUint64)
		case callID:
			k.id = f.String(maxEscaped)
		case callAge:
			k.began = now.Add(-time.Duration(f.Uint(most)) * time.Millisecond)
		case callLeft:
			k.limit = now.Add(time.Duration(f.Uint(most)) * time.Millisecond)
		case callMessage:
			k.message = append([]byte(nil), f.Bytes(maxData)...)
		default:
			f.Unknown()
		}
	}
}

// callsFault returns what is wrong with a charger's calls; "" if nothing is.
func (r *Relay) callsFault(c *Charger, q *queue) string {
	if len(q.calls)+len(q.unanswered) == 0 {
		return ""
	}
	ids := map[string]bool{}
	for i, k := range q.calls {
		switch {
		case k.sent() != (i == 0):
			return "of its calls not exactly the first is with it"
		case k.asker.Loop >= r.cfg.Loops || k.asker.Link == 0 && (k.asker.Loop != 0 || !k.sent()):
			return "a call that nobody made"
		}
		ids[k.id] = true
	}
	for _, id := range q.unanswered {
		ids[id] = true
	}
	for id := range ids {
		if n := utf8.RuneCountInString(id); n == 0 || n > maxMessageID || !utf8.ValidString(id) {
			return "a call with a message id that cannot be"
		}
	}
	switch {
	case !c.connected:
		return "calls to a charger that is not connected"
	case len(q.unanswered) > maxUnanswered:
		return "too many calls without an answer"
	case len(ids) != len(q.calls)+len(q.unanswered):
		return "two calls of one message id"
	}
	return ""
}
