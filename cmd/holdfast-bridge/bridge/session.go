package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"time"
	"unicode/utf8"

	"holdfast/cmd/holdfast-bridge/route"
	"holdfast/cmd/holdfast-bridge/upstream"
	"holdfast/proc"
)

// A session is one charger. Everything of it is used by functions of its mailbox only.
//
//	        open           dialed            lost
//	(none) -----> dialling -------> up ----------------> dialling …
//	                  ^              |  reroute              |
//	                  +--------------+                       |
//	     leave, from any: lingers (the charger may come back: open), then end
type session struct {
	mailbox
	b        *Bridge
	identity string
	ended    bool // it is not in Bridge.sessions any more

	ch     *proc.Charger // nil: not shown yet
	opened proc.OpenedBody
	online bool // the charger is connected, and this bridge's
	fresh  bool // it has connected since up was last there
	linger *time.Timer
	hurry  bool // it ends as soon as no CALL is under way
	// expected is when the charger was told that it may connect again, by way of up.
	expected time.Time

	target upstream.Target    // where it belongs; URL empty: no route
	up     *upstream.Conn     // nil: none
	since  time.Time          // of up, or since when there is none
	why    string             // there is none
	dial   context.CancelFunc // ends the dial that is queued or under way; nil: none
	asked  *upstream.Request  // that dial
	failed int                // dials in a row that were refused, and connections that did not last
	pause  *time.Timer        // until the next dial
	moving *time.Timer        // the route has changed; it moves when nothing is under way, or then

	waiting *delivery // the charger's message, not acknowledged
	nacks   int       // in a row
	late    answer    // to its last message
	mute    silence   // a CALL that the central system does not answer, or falls over

	calls   map[string]*call // under way at the charger, by the id that it sees
	parked  []*call          // until the charger is back
	boot    []byte           // its last BootNotification, as it sent it
	booting string           // id of one that is replayed, until it is answered
	mirrors []*mirror
	// overruled is the id of the last CALL that a mirror's answer was given to: the
	// central system's is nobody's.
	overruled string
}

// open takes a charger that has connected, or comes from another bridge.
func (s *session) open(ch *proc.Charger, o proc.OpenedBody) {
	s.ch, s.opened, s.online = ch, o, !o.Gone
	s.fresh = s.fresh || !o.Moved
	s.hurry, s.expected = false, time.Time{}
	stop(&s.linger)
	t := s.place()
	conn := s.b.take(s.identity, t)
	switch {
	case conn != nil:
		s.part("the charger has connected again")
		s.target = t
		s.attach(conn)
	case s.up != nil && sameTarget(s.target, t):
		s.fresh = false // the central system has seen nothing of it
	default:
		s.part("the charger has connected again, with other credentials")
		s.target = t
		s.again()
	}
	s.mirror()
	s.unpark()
}

// place is where the charger belongs by the routes there are.
func (s *session) place() (t upstream.Target) {
	r, found := s.b.routes.Load().Find(s.identity, s.opened.Subprotocol)
	if !found {
		return t
	}
	return s.targetOf(r)
}

func (s *session) targetOf(r route.Route) upstream.Target {
	t := upstream.Target{
		URL: r.Address(s.identity), Subprotocol: s.opened.Subprotocol,
		From: hostOf(s.opened.Remote), Secure: s.opened.TLS != nil,
	}
	if n, ok := parseNote(s.opened.Note); ok {
		t.Authorization = n.Authorization
	} else if password, ok := s.b.cfg.Passwords[s.identity]; ok {
		t.Authorization = basic([]byte(s.identity), []byte(password))
	}
	return t
}

// connect has the charger's connection made, unless one is there or on its way.
func (s *session) connect() {
	switch {
	case s.up != nil || s.ended || s.b.leaving.Load() || s.pause != nil:
		return
	case !s.online && s.waiting == nil: // one that has gone may have left something
		return
	case s.target.URL == "":
		if s.why != noRoute {
			s.why, s.since = noRoute, time.Now()
			s.b.cfg.Logger.Warn("no route for a charger: its messages wait", "charger", s.identity, "subprotocol", s.opened.Subprotocol)
		}
		return
	case s.dial != nil && (s.asked.Urgent || s.waiting == nil || !s.asked.Withdraw()):
		return
	case s.dial != nil:
		s.dial() // it is asked anew, and is more urgent
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.dial = cancel
	s.asked = &upstream.Request{
		Target: s.target, Urgent: s.waiting != nil, Context: ctx,
		Done: func(c *upstream.Conn, err error) { s.post(func() { s.dialed(ctx, c, err) }) },
	}
	s.b.cfg.Queue.Ask(s.asked)
}

const noRoute = "no route"

// dialed takes the outcome of a dial.
func (s *session) dialed(ctx context.Context, c *upstream.Conn, err error) {
	if ctx.Err() != nil { // nobody wants it any more
		if c != nil {
			c.Close(1001, "not needed any more")
		}
		return
	}
	s.dial()
	s.dial, s.asked = nil, nil
	if err == nil {
		s.attach(c)
		return
	}
	first := s.why != err.Error()
	s.why = err.Error()
	refusal, refused := errors.AsType[*upstream.RefusalError](err)
	if !refused {
		s.b.cfg.Metrics.Dials("unanswered").Inc()
		if first {
			s.b.cfg.Logger.Info("the central system does not answer", "charger", s.identity, "upstream", s.target.URL, "reason", s.why)
		}
		s.redial(maxAbsent)
		return
	}
	s.b.cfg.Metrics.Dials("refused").Inc()
	if first {
		s.b.cfg.Logger.Warn("the central system refuses a connection", "charger", s.identity, "upstream", s.target.URL, "status", refusal.Status, "reason", s.why)
	}
	limit := maxRedial
	if refusal.Away() {
		limit = maxAbsent
	}
	s.redial(limit)
}

// Pauses before a dial. A central system that is away is soon back, and the queue has only
// one ask at a time; one that does not want this charger, or closes its connection at
// once, may have a reason that lasts.
const (
	firstRedial = 500 * time.Millisecond
	maxAbsent   = 4 * time.Second
	maxRedial   = time.Minute
	lasting     = 10 * time.Second
)

// redial dials after a pause that grows up to a limit.
func (s *session) redial(limit time.Duration) {
	pause := min(firstRedial<<min(s.failed, 10), limit)
	s.failed++
	stop(&s.pause)
	s.pause = s.after(pause/2+rand.N(pause/2), func() {
		s.pause = nil
		s.connect()
	})
	if s.waiting != nil {
		s.away(s.waiting)
	}
}

// again goes on without a connection: with what waits for one, and to have one.
func (s *session) again() {
	if s.waiting != nil {
		s.away(s.waiting)
	}
	s.connect() // also if there was an answer in place of the central system
}

// after runs f in the mailbox after d.
func (s *session) after(d time.Duration, f func()) (t *time.Timer) {
	set := make(chan *time.Timer, 1)
	t = time.AfterFunc(d, func() {
		t := <-set
		s.post(func() {
			if !s.ended && s.current(t) {
				f()
			}
		})
	})
	set <- t
	return t
}

// current reports whether a timer that has fired was not stopped, or set anew, before
// the mailbox came to it.
func (s *session) current(t *time.Timer) bool {
	return t == s.pause || t == s.linger || t == s.moving || s.waiting != nil && (t == s.waiting.timer || t == s.waiting.decide)
}

func stop(t **time.Timer) {
	if *t != nil {
		(*t).Stop()
		*t = nil
	}
}

// attach takes a new connection, and goes on with what waits for it.
func (s *session) attach(c *upstream.Conn) {
	s.up, s.why, s.since = c, "", time.Now()
	s.b.cfg.Metrics.Dials("connected").Inc()
	s.b.cfg.Metrics.Up.Inc()
	s.b.cfg.Logger.Info("connected to the central system", "charger", s.identity, "upstream", s.target.URL)
	go s.read(c)
	if !s.fresh {
		s.bootAgain()
	}
	s.fresh = false
	if s.waiting != nil {
		s.forward()
	}
}

// read passes on what the central system sends, until the connection ends.
func (s *session) read(c *upstream.Conn) {
	for {
		payload, binary, err := c.Read()
		if err != nil {
			s.do(func() { s.lost(c, upstream.Reason(err)) })
			return
		}
		s.do(func() { s.receive(c, payload, binary) })
	}
}

// receive takes a message of the central system.
func (s *session) receive(c *upstream.Conn, payload []byte, binary bool) {
	if c != s.up {
		return
	}
	s.b.cfg.Metrics.FromUpstream.Inc()
	h := parseHead(payload)
	if !utf8.Valid(payload) || !json.Valid(bare(payload)) {
		h = head{}
	}
	switch {
	case h.kind == ocppCall:
		s.call(c, h, payload)
	case h.kind == ocppError && h.id == "-1":
		s.pass(payload, binary) // about a message that it could not read
	case h.kind == ocppResult || h.kind == ocppError:
		s.answered(c, h, payload)
	case h.kind == ocppResultError || h.kind == ocppSend:
		s.pass(payload, binary)
	default:
		s.b.cfg.Metrics.Refused("no_ocpp").Inc()
		s.b.cfg.Logger.Warn("the central system sent what is not OCPP-J: refused", "charger", s.identity, "upstream", s.target.URL, "bytes", len(payload), "begins", string(payload[:min(len(payload), 40)]))
		return
	}
	s.copyOfMain(payload)
}

// pass sends the charger a message that has no answer.
func (s *session) pass(payload []byte, binary bool) {
	s.ch.SendLater(payload, binary, func(err error) {
		if err != nil {
			s.b.cfg.Metrics.Refused("send").Inc()
			s.b.cfg.Logger.Info("a message of the central system did not reach the charger", "charger", s.identity, "reason", err.Error())
		}
	})
}

// lost takes the end of a connection.
func (s *session) lost(c *upstream.Conn, why string) {
	if c != s.up {
		return
	}
	s.b.cfg.Metrics.Lost.Inc()
	s.b.cfg.Logger.Info("lost the central system", "charger", s.identity, "upstream", s.target.URL, "reason", why, "after", time.Since(s.since).Round(time.Millisecond).String())
	lasted := time.Since(s.since) > lasting
	switch d := s.waiting; {
	case d == nil || !d.sent:
	case d.main != nil: // only the mirror's was waited for
		s.settle(d, d.main)
	case s.suspect(d, 1):
		s.refuse(d)
	}
	s.part(why)
	switch {
	case !s.online && s.waiting == nil:
		s.end(why)
	case lasted:
		s.failed = 0
		s.again()
	default:
		s.redial(maxRedial)
	}
}

// part takes the charger from its connection. What was under way waits again.
func (s *session) part(why string) {
	if s.dial != nil {
		s.asked.Withdraw()
		s.dial()
		s.dial, s.asked = nil, nil
	}
	stop(&s.pause)
	stop(&s.moving)
	if s.up == nil {
		return
	}
	s.up.Close(1001, strings.ToValidUTF8(why[:min(len(why), 120)], ""))
	s.up, s.why, s.since, s.booting = nil, why, time.Now(), ""
	s.b.cfg.Metrics.Up.Dec()
	if d := s.waiting; d != nil {
		d.sent, d.main = false, nil
		stop(&d.decide)
	}
}

// callsEndWithin is how long a charger that has moved may take to answer CALLs: its new
// owner connects meanwhile, and some central systems take one connection only.
const callsEndWithin = 5 * time.Second

// leave takes the end of the charger, here. Its connection stays for a while.
func (s *session) leave(linger time.Duration, why string) {
	s.online = false
	stop(&s.linger)
	if time.Since(s.expected) < admittedFor {
		linger = max(linger, admittedFor)
	}
	if s.hurry = linger == 0; s.hurry && len(s.calls) > 0 {
		linger = callsEndWithin
	}
	if linger == 0 || s.up == nil {
		s.end(why)
		return
	}
	s.linger = s.after(linger, func() { s.end(why) })
}

// end closes everything, and forgets the charger.
func (s *session) end(why string) {
	if s.ended {
		return
	}
	s.online, s.ended = false, true
	stop(&s.linger)
	s.failParked(why)
	s.part(why)
	for _, m := range s.mirrors {
		m.end(why)
	}
	if d := s.waiting; d != nil {
		s.giveBack(d, errLeaves)
	}
	s.keep()
	s.b.sessions.Delete(s.identity)
	s.b.count.Add(-1)
}

var errLeaves = errors.New("the bridge leaves")
