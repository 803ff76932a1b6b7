package bridge

import (
	"errors"
	"time"

	"holdfast/cmd/holdfast-bridge/upstream"
	"holdfast/proc"
)

// A call is a CALL of a central system that the charger has not answered.
type call struct {
	from    caller
	id      string // as the central system knows it
	message []byte
	renamed bool // the charger knows it by another id
	began   time.Time
}

// caller gets the answer.
type caller interface {
	reply(message []byte)
	limit() time.Duration
}

// mainCaller is a connection of the charger's own central system.
type mainCaller struct {
	s    *session
	conn *upstream.Conn
}

func (c mainCaller) limit() time.Duration { return c.s.b.cfg.CallTimeout }

// reply writes an answer, if the connection is there that the CALL came by: another one
// knows nothing of it.
func (c mainCaller) reply(message []byte) {
	if c.conn != c.s.up {
		c.s.b.cfg.Metrics.Refused("call_gone").Inc()
		return
	}
	if err := c.conn.Write(message, false); err != nil {
		c.s.lost(c.conn, upstream.Reason(err))
	}
}

// maxParked is how many CALLs wait for a charger that may come back.
const maxParked = 16

// call passes a CALL of the central system on.
func (s *session) call(c *upstream.Conn, h head, payload []byte) {
	s.startCall(&call{from: mainCaller{s, c}, id: h.id, message: payload, began: time.Now()})
}

func (s *session) startCall(k *call) {
	if s.b.draining.Load() {
		s.fail(k, "the bridge is being replaced; the charger has not received this")
		return
	}
	if !s.online {
		s.park(k)
		return
	}
	id, message := k.id, k.message
	if n := len([]rune(id)); k.renamed || n == 0 || n > maxID || s.calls[id] != nil {
		k.renamed = true
		id = newID()
		var ok bool
		if message, ok = withID(message, id); !ok {
			s.fail(k, "it is malformed")
			return
		}
	}
	s.calls[id] = k
	s.b.under.Add(1)
	s.b.cfg.Metrics.Calls.Inc()
	s.ch.CallLater(message, k.from.limit(), func(answer []byte, err error) {
		s.post(func() { s.called(id, k, answer, err) })
	})
}

// maxID is how long a message id may be, in characters (OCPP 1.6 JSON section 4.1.4).
const maxID = 36

// called takes the end of a CALL.
func (s *session) called(id string, k *call, answer []byte, err error) {
	delete(s.calls, id)
	s.b.under.Add(-1)
	defer s.moveIfIdle()
	refusal, refused := errors.AsType[*proc.RefusedError](err)
	switch {
	case err == nil && k.renamed:
		if answer, ok := withID(answer, k.id); ok {
			k.from.reply(answer)
		} else {
			s.fail(k, "the charger's answer is malformed")
		}
	case err == nil:
		k.from.reply(answer)
	case refused && !k.renamed:
		// Most likely the id is that of another CALL, which the charger may still
		// answer: a central system that was restarted counts from the beginning.
		k.renamed = true
		s.startCall(k)
	case errors.Is(err, proc.ErrNotSent) && (errors.Is(err, proc.ErrOffline) || errors.Is(err, proc.ErrClosed)) && s.b.cfg.Linger > 0:
		s.park(k)
	default:
		why := err.Error()
		if refused {
			why = refusal.Why
		}
		s.fail(k, why)
	}
	if s.hurry && !s.online && len(s.calls) == 0 {
		s.end("the charger has gone")
	}
}

// fail answers a CALL with an error. GenericError is in every version of OCPP.
func (s *session) fail(k *call, why string) {
	s.b.cfg.Metrics.CallsFailed.Inc()
	s.b.cfg.Logger.Info("a CALL of the central system has no answer", "charger", s.identity, "id", k.id, "reason", why, "after", time.Since(k.began).Round(time.Millisecond).String())
	k.from.reply(callError(k.id, "GenericError", why[:min(len(why), 255)]))
}

// park has a CALL wait for the charger, which may be back soon.
func (s *session) park(k *call) {
	if s.ended || s.b.cfg.Linger == 0 || len(s.parked) >= maxParked {
		s.fail(k, "the charger is offline")
		return
	}
	s.parked = append(s.parked, k)
}

// unpark goes on with the CALLs that have waited for the charger.
func (s *session) unpark() {
	parked := s.parked
	s.parked = nil
	for _, k := range parked {
		if s.online {
			s.startCall(k)
		} else {
			s.fail(k, "the charger is offline")
		}
	}
}

// failParked answers all of them.
func (s *session) failParked(why string) {
	parked := s.parked
	s.parked = nil
	for _, k := range parked {
		s.fail(k, why)
	}
}
