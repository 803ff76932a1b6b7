package bridge

import (
	"errors"
	"hash/maphash"
	"math/rand/v2"
	"time"

	"holdfast/cmd/holdfast-bridge/upstream"
	"holdfast/proc"
)

// A delivery is a message of the charger that is not acknowledged. The charger's next one
// comes when it is.
type delivery struct {
	message proc.Message
	head    head
	answer  func(reply []byte, err error)
	began   time.Time
	sent    bool // on session.up
	sentAt  time.Time
	timer   *time.Timer

	decider *mirror // whose answer the charger gets, if it comes in time
	main    []byte  // the central system's answer, until then
	decided []byte  // the mirror's, until the central system has been sent the CALL
	decide  *time.Timer
}

// answer is the last one, in case that its message comes again: the link was lost before
// the gateway had it, or it came when the message had been given back.
type answer struct {
	id      string
	message uint64 // a hash of it: chargers that start anew use ids again
	reply   []byte // nil: not come yet
}

// maxKept is the longest answer, and the longest BootNotification, that is kept, in bytes.
const maxKept = 16 << 10

func (d *delivery) hash() uint64 { return maphash.Bytes(seed, d.message.Payload) }

var seed = maphash.MakeSeed()

// silence is how often a CALL was not answered in time, or the connection ended before it
// was. The latter counts a fifth: it is most likely another's fault.
type silence struct {
	id     string
	fifths int
}

// suspect counts against d, and reports whether it is to be given up: nothing behind it
// would ever come to a central system that it makes fall over.
func (s *session) suspect(d *delivery, fifths int) bool {
	if d.head.kind != ocppCall {
		return false
	}
	if s.mute.id != d.head.id {
		s.mute = silence{id: d.head.id}
	}
	s.mute.fifths += fifths
	return s.mute.fifths >= 5*s.b.cfg.Attempts
}

// refuse answers a CALL that is given up.
func (s *session) refuse(d *delivery) {
	s.b.cfg.Logger.Error("a CALL is given up: the central system does not answer it", "charger", s.identity, "upstream", s.target.URL, "action", d.head.action, "id", d.head.id)
	s.mute = silence{}
	s.settle(d, callError(d.head.id, "InternalError", "the central system does not answer this"))
}

var (
	errAway     = errors.New("the central system is away")
	errNoAnswer = errors.New("the central system does not answer")
)

// hold is how long a message waits here for the central system, before it waits at the
// gateway: long enough for a restart, and far from the gateway's -ack-timeout.
const hold = 10 * time.Second

// deliver takes the charger's next message.
func (s *session) deliver(d *delivery) {
	if s.ended {
		d.answer(nil, proc.RetryAfter(errLeaves, time.Second))
		return
	}
	s.b.cfg.Metrics.FromChargers.Inc()
	s.waiting = d
	if !d.message.Redelivered { // what is remembered is of another message, whatever its id
		s.late, s.mute = answer{}, silence{}
	}
	if d.head.kind == ocppCall {
		if d.head.action == "BootNotification" {
			if s.boot = nil; len(d.message.Payload) <= maxKept {
				s.boot = d.message.Payload
			}
		}
		if s.late.reply != nil && s.late.id == d.head.id && d.message.Redelivered && s.late.message == d.hash() {
			s.settle(d, s.late.reply)
			return
		}
	} else if d.message.Late || d.head.kind == ocppResult || d.head.kind == ocppError {
		// The central system has had an error in its place, or asked another bridge.
		s.b.cfg.Metrics.Refused("late_answer").Inc()
		s.settle(d, nil)
		return
	}
	s.copy(d)
	s.forward()
}

// forward sends what waits to the central system, if it is there.
func (s *session) forward() {
	d := s.waiting
	if s.up == nil {
		s.away(d)
		return
	}
	if s.booting != "" || s.moving != nil {
		s.expire(d, max(0, hold-time.Since(d.began)), errAway)
		return // goes on when that is done
	}
	up := s.up
	if err := up.Write(d.message.Payload, d.message.Binary); err != nil {
		s.away(d)
		s.lost(up, upstream.Reason(err))
		return
	}
	d.sent, d.sentAt = true, time.Now()
	if d.head.kind != ocppCall {
		s.settle(d, nil)
		return
	}
	if d.decided != nil {
		s.decide(d, d.decided)
		return
	}
	s.expire(d, s.b.answerWithin(d), errNoAnswer)
}

// answerWithin is how long the central system has for an answer: -answer-timeout, but no
// longer than the gateway waits for the acknowledgement, which began with the delivery.
func (b *Bridge) answerWithin(d *delivery) time.Duration {
	within := b.cfg.AnswerTimeout
	if ack := time.Duration(b.ackTimeout.Load()); ack > 0 {
		within = min(within, ack*9/10-time.Since(d.began))
	}
	return max(0, within)
}

// expire gives d back, or up, when so much time has passed.
func (s *session) expire(d *delivery, after time.Duration, why error) {
	stop(&d.timer)
	d.timer = s.after(after, func() {
		if errors.Is(why, errNoAnswer) {
			s.unanswered(d)
			return
		}
		s.giveBack(d, why)
	})
}

// away does with d what is done while the central system is away.
func (s *session) away(d *delivery) {
	if reply := s.offlineReply(d); reply != nil {
		s.settle(d, reply)
		return
	}
	s.connect()
	left := hold - time.Since(d.began)
	if left <= 0 || s.b.leaving.Load() { // another bridge may have it
		s.giveBack(d, errAway)
		return
	}
	s.expire(d, left, errAway)
}

// Pauses for which a message waits at the gateway.
const (
	firstWait = time.Second
	maxWait   = 15 * time.Second
)

// giveBack has d wait at the gateway, each time for longer.
func (s *session) giveBack(d *delivery, why error) {
	pause := min(firstWait<<min(s.nacks, 10), maxWait)
	s.nacks++
	s.done(d)
	d.answer(nil, proc.RetryAfter(why, pause/2+rand.N(pause/2)))
}

// unanswered gives d back, to be sent again under the same id; after so many times, the
// charger gets an error.
func (s *session) unanswered(d *delivery) {
	enough := s.suspect(d, 5)
	s.b.cfg.Metrics.Unanswered.Inc()
	s.b.cfg.Logger.Warn("the central system has not answered in time", "charger", s.identity, "upstream", s.target.URL,
		"action", d.head.action, "id", d.head.id, "after", s.b.cfg.AnswerTimeout.String(), "times", s.mute.fifths/5)
	if enough {
		s.refuse(d)
		return
	}
	s.late = answer{id: d.head.id, message: d.hash()}
	s.giveBack(d, errNoAnswer)
}

// answered takes an answer of the central system.
func (s *session) answered(c *upstream.Conn, h head, payload []byte) {
	d := s.waiting
	switch {
	case h.id == "":
		s.b.cfg.Metrics.Refused("answer").Inc()
	case h.id == s.booting:
		s.booted()
	case d != nil && d.sent && d.head.kind == ocppCall && d.head.id == h.id && d.main == nil:
		took := time.Since(d.sentAt)
		s.b.cfg.Metrics.RoundTrip.Observe(took.Seconds())
		s.b.trips.add(took)
		if s.waitsForMirror(d) {
			d.main = payload
			stop(&d.timer)
			return
		}
		s.settle(d, payload)
	case h.id == s.overruled:
	case h.id == s.late.id && s.late.reply == nil && d == nil:
		s.late.reply = payload // its message is on the way here again, however long it is
	default:
		s.b.cfg.Metrics.Refused("answer").Inc()
		s.b.cfg.Logger.Info("an answer of the central system that nobody waits for", "charger", s.identity, "upstream", s.target.URL, "id", h.id)
	}
}

// settle acknowledges d, with the reply if it has one.
func (s *session) settle(d *delivery, reply []byte) {
	s.done(d)
	if most := s.b.maxMessage.Load(); most > 0 && int64(len(reply)) > most {
		s.b.cfg.Metrics.Refused("reply").Inc()
		s.b.cfg.Logger.Error("an answer of the central system is longer than the gateway takes: the charger gets an error; see the gateway's -max-message",
			"charger", s.identity, "upstream", s.target.URL, "action", d.head.action, "id", d.head.id, "bytes", len(reply))
		reply = callError(d.head.id, "InternalError", "the answer is too long")
	}
	s.nacks, s.late = 0, answer{}
	if reply != nil && len(reply) <= maxKept {
		s.late = answer{d.head.id, d.hash(), reply}
	}
	d.answer(reply, nil)
	s.moveIfIdle()
}

func (s *session) done(d *delivery) {
	s.waiting = nil
	stop(&d.timer)
	stop(&d.decide)
}

// offlineReply is an answer in place of an absent central system; nil: none.
func (s *session) offlineReply(d *delivery) []byte {
	if d.head.kind != ocppCall || !s.b.cfg.OfflineReply[d.head.action] {
		return nil
	}
	s.b.cfg.Metrics.OfflineReplies.Inc()
	if d.head.action == "Heartbeat" {
		return callResult(d.head.id, map[string]string{"currentTime": time.Now().UTC().Format(time.RFC3339)})
	}
	return callResult(d.head.id, struct{}{})
}

// Harmless are the actions that may be answered in place of a central system: their
// answers say nothing (but the time), and what they report is reported again, or is of
// no use later.
var Harmless = []string{"Heartbeat", "StatusNotification", "FirmwareStatusNotification", "DiagnosticsStatusNotification", "LogStatusNotification"}
