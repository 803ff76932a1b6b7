package bridge

import (
	"context"
	"sync/atomic"
	"time"

	"holdfast/cmd/holdfast-bridge/route"
	"holdfast/cmd/holdfast-bridge/upstream"
)

// A mirror is a charger's connection to a second central system. It has a mailbox of its
// own, so that it never delays the charger: what it cannot take, it does not get.
type mirror struct {
	mailbox
	s       *session
	rule    atomic.Pointer[route.Mirror]
	there   atomic.Bool  // up is not nil
	pending atomic.Int64 // copies that are on their way to it

	// Of the mailbox:
	target upstream.Target
	up     *upstream.Conn
	queue  []copied // while it is away
	dial   context.CancelFunc
	asked  *upstream.Request // that dial
	ended  bool

	calls atomic.Int64 // of its CALLs, those without an answer
}

// maxMirrorCalls is how many CALLs of a mirror may be under way.
const maxMirrorCalls = 16

type copied struct {
	payload []byte
	binary  bool
}

// maxMirrorID is the longest id of a CALL of a mirror's, in bytes; OCPP has 36 characters.
const maxMirrorID = 256

// maxCopies bounds what waits for a mirror, in messages.
const maxCopies = 64

// decideWithin is how long the charger waits for a mirror that decides, once its own
// central system has answered.
const decideWithin = 5 * time.Second

// mirror has the charger the mirrors that the routes give it.
func (s *session) mirror() {
	rules := s.b.routes.Load().Mirrored(s.identity, s.opened.Subprotocol)
	var kept []*mirror
	for _, rule := range rules {
		t := s.targetOf(rule.Route)
		t.Authorization = "" // it is the charger's toward its own central system
		m := (*mirror)(nil)
		for i, had := range s.mirrors {
			if had != nil && sameTarget(had.target, t) {
				m, s.mirrors[i] = had, nil
				m.rule.Store(&rule)
				break
			}
		}
		if m == nil {
			m = &mirror{s: s, target: t}
			m.rule.Store(&rule)
			m.post(m.connect)
		}
		kept = append(kept, m)
	}
	for _, gone := range s.mirrors {
		if gone != nil {
			gone.end("not mirrored any more")
		}
	}
	s.mirrors = kept
}

// copy sends mirrors the charger's message, the first time that it comes.
func (s *session) copy(d *delivery) {
	for _, m := range s.mirrors {
		if d.head.kind == ocppCall && m.rule.Load().Decides(d.head.action) {
			d.decider = m
		}
		if !d.message.Redelivered || d.decider == m {
			m.send(copied{d.message.Payload, d.message.Binary})
		}
	}
}

// copyOfMain sends mirrors what the central system has sent, if they are to have it.
func (s *session) copyOfMain(payload []byte) {
	for _, m := range s.mirrors {
		if m.rule.Load().Main {
			m.send(copied{payload, false})
		}
	}
}

// waitsForMirror reports whether the charger waits for the answer of the mirror that
// decides. It does not for one that is away.
func (s *session) waitsForMirror(d *delivery) bool {
	if d.decider == nil || !d.decider.there.Load() {
		return false
	}
	d.decide = s.after(decideWithin, func() {
		if d.main != nil {
			s.settle(d, d.main)
		}
	})
	return true
}

// send passes on a copy. It never waits.
func (m *mirror) send(c copied) {
	if m.pending.Add(1) > maxCopies {
		m.pending.Add(-1)
		m.s.b.cfg.Metrics.MirrorDropped.Inc()
		return
	}
	m.post(func() {
		switch {
		case m.up != nil:
			m.write(c)
			m.pending.Add(-1)
		case m.ended:
		default:
			m.queue = append(m.queue, c) // and stays pending
		}
	})
}

func (m *mirror) write(c copied) {
	up := m.up
	if err := up.Write(c.payload, c.binary); err != nil {
		m.s.b.cfg.Metrics.MirrorDropped.Inc()
		m.lost(up, upstream.Reason(err))
		return
	}
	m.s.b.cfg.Metrics.MirrorSent.Inc()
}

func (m *mirror) connect() {
	if m.ended || m.up != nil || m.dial != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	m.dial = cancel
	m.asked = &upstream.Request{Target: m.target, Context: ctx, Done: func(c *upstream.Conn, err error) {
		m.post(func() { m.dialed(c, err) })
	}}
	m.s.b.cfg.Queue.Ask(m.asked)
}

// mirrorPause is how long a mirror is left alone that has refused, or closed, a
// connection.
const mirrorPause = 10 * time.Second

func (m *mirror) dialed(c *upstream.Conn, err error) {
	if m.dial != nil {
		m.dial()
	}
	m.dial, m.asked = nil, nil
	switch {
	case m.ended && c != nil:
		c.Close(1001, "not needed any more")
	case m.ended:
	case err != nil:
		m.s.b.cfg.Logger.Debug("a mirror cannot be connected", "charger", m.s.identity, "mirror", m.target.URL, "reason", err.Error())
		m.pause()
	default:
		m.up = c
		m.there.Store(true)
		m.s.b.cfg.Logger.Info("connected to a mirror", "charger", m.s.identity, "mirror", m.target.URL)
		go m.read(c)
		queue := m.queue
		m.queue = nil
		for i, c := range queue {
			if m.up == nil { // lost amid them
				m.queue = queue[i:]
				return
			}
			m.write(c)
			m.pending.Add(-1)
		}
	}
}

func (m *mirror) pause() {
	time.AfterFunc(mirrorPause, func() { m.post(m.connect) })
}

func (m *mirror) lost(c *upstream.Conn, why string) {
	if c != m.up {
		return
	}
	m.up = nil
	m.there.Store(false)
	c.Close(1001, "")
	if !m.ended {
		m.s.b.cfg.Logger.Info("lost a mirror", "charger", m.s.identity, "mirror", m.target.URL, "reason", why)
		m.pause()
	}
}

func (m *mirror) read(c *upstream.Conn) {
	for {
		payload, _, err := c.Read()
		if err != nil {
			m.do(func() { m.lost(c, upstream.Reason(err)) })
			return
		}
		h := parseHead(payload)
		switch h.kind {
		case ocppCall:
			m.called(c, h, payload)
		case ocppResult, ocppError:
			m.s.do(func() { m.s.decided(m, h, payload) })
		}
	}
}

// called takes a CALL of the mirror. It always gets an id of the bridge's: the two
// systems know nothing of each other's.
func (m *mirror) called(c *upstream.Conn, h head, payload []byte) {
	refuse := func(code, why string) {
		// On the goroutine that reads: one that does not read its answers is not read.
		m.do(func() {
			if c == m.up {
				m.write(copied{callError(h.id, code, why), false})
			}
		})
	}
	switch {
	case !m.rule.Load().Allows(h.action):
		refuse("SecurityError", "this system may not call "+h.action[:min(len(h.action), 64)]+" here")
	case len(h.id) > maxMirrorID || m.calls.Load() >= maxMirrorCalls:
		refuse("GenericError", "too many CALLs are under way, or the message id is too long")
	default:
		m.calls.Add(1)
		k := &call{from: mirrorCaller{m, c}, id: h.id, message: payload, renamed: true, began: time.Now()}
		m.s.do(func() { m.s.startCall(k) })
	}
}

// decided takes a mirror's answer: the charger's, if the mirror decides; else nobody's.
func (s *session) decided(m *mirror, h head, payload []byte) {
	d := s.waiting
	switch {
	case d == nil || d.decider != m || d.head.id != h.id:
	case d.sent:
		s.decide(d, payload)
	default:
		d.decided = payload
	}
}

func (s *session) decide(d *delivery, payload []byte) {
	s.b.cfg.Metrics.MirrorDecided.Inc()
	if d.main == nil {
		s.overruled = d.head.id
	}
	s.settle(d, payload)
}

// mirrorCaller is a mirror's connection.
type mirrorCaller struct {
	m    *mirror
	conn *upstream.Conn
}

func (c mirrorCaller) limit() time.Duration { return c.m.s.b.cfg.CallTimeout }

func (c mirrorCaller) reply(message []byte) {
	c.m.post(func() {
		c.m.calls.Add(-1)
		if c.conn == c.m.up {
			c.m.write(copied{message, false})
		}
	})
}

func (m *mirror) end(why string) {
	m.post(func() {
		m.ended, m.queue = true, nil
		if m.dial != nil {
			m.asked.Withdraw()
			m.dial()
			m.dial, m.asked = nil, nil
		}
		if m.up != nil {
			m.up.Close(1001, why[:min(len(why), 120)])
			m.up = nil
			m.there.Store(false)
		}
	})
}
