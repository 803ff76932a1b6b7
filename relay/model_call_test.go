package relay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"holdfast/unixipc"
)

// presence is what a processor knows of a charger.
type presence int

const (
	unknown presence = iota
	present
	absent
	muddled // it gave something back, and has acknowledged what came behind
)

// modelCall is a CALL of a processor.
type modelCall struct {
	id       string
	charger  *modelCharger
	conn     uint64 // of the charger when it was made
	asker    *modelLink
	limit    time.Time
	sent     bool
	answered string // by the charger, while the asker waited
	results  int
}

// settle notes that an OPENED or CLOSED, which name their connection, is settled.
func (c *modelCharger) settle(payload []byte) {
	var body struct {
		Remote, Reason string
		Moved          bool
		Reconnects     int
	}
	if json.Unmarshal(payload, &body) != nil || body.Moved {
		return
	}
	if body.Reconnects > 0 { // the connections before that are reported by this OPENED alone
		i := slices.IndexFunc(c.conns, func(conn uint64) bool { return fmt.Sprint(conn) == body.Remote })
		for _, conn := range c.conns[i-body.Reconnects : i] {
			c.settled[conn][unixipc.Opened], c.settled[conn][unixipc.Closed] = true, true
		}
	}
	for conn, settled := range c.settled {
		switch fmt.Sprint(conn) {
		case body.Remote:
			settled[unixipc.Opened] = true
		case body.Reason:
			settled[unixipc.Closed] = true
		}
	}
}

// call has a processor ask a charger for something, sometimes under the id of
// another call.
func (m *model) call(l *modelLink, c *modelCharger) {
	m.token++
	m.Calls++
	k := &modelCall{id: fmt.Sprint("call ", m.token), charger: c, conn: c.conn, asker: l}
	if len(c.calls) > 0 && m.rnd.IntN(4) == 0 {
		k.id = c.calls[m.rnd.IntN(len(c.calls))].id
		m.Collisions++
	}
	limit := time.Duration(m.rnd.IntN(12)) * time.Second
	k.limit = m.now.Add(min(limit, modelConfig.MaxCallTimeout))
	if limit == 0 {
		k.limit = m.now.Add(modelConfig.CallTimeout)
	}
	m.calls[m.token] = k
	m.event("link %d calls %s: %q, token %d", l.l.id, c.identity, k.id, m.token)
	m.order(l, unixipc.Frame{
		Type: unixipc.Call, Ref: m.token, Key: []byte(c.identity),
		Payload: unixipc.AppendCall(nil, limit, fmt.Appendf(nil, `[2,%q,"Reset",{"token":%d}]`, k.id, m.token)),
	})
}

// called records a CALL that a charger is sent.
func (m *model) called(c *modelCharger, message string) {
	token := uint64(0)
	_, rest, _ := strings.Cut(message, `"token":`)
	_, _ = fmt.Sscanf(rest, "%d", &token)
	k := m.calls[token]
	m.event("%s hears %q of token %d", c.identity, k.id, token)
	switch {
	case k.charger != c || k.conn != c.conn || k.sent || k.results > 0 || k.asker.dead:
		m.fail("%s is sent a CALL that it is not to have: %+v", c.identity, k)
	case slices.ContainsFunc(c.calls, func(o *modelCall) bool { return o.id == k.id }):
		m.fail("%s is sent %q while another of that id could be answered", c.identity, k.id)
	case slices.ContainsFunc(c.calls, func(o *modelCall) bool { return o.limit.After(m.now) }):
		m.fail("%s is sent %q while it has another CALL", c.identity, k.id)
	}
	k.sent = true
	c.calls = append(c.calls, k)
}

// sendResult has a charger answer a CALL, in time or late.
func (m *model) answer(c *modelCharger) {
	i := m.rnd.IntN(len(c.calls))
	k := c.calls[i]
	given := len(c.calls) - 1 - i // so many were given up since, or are on their way
	c.calls = slices.Delete(c.calls, i, i+1)
	c.sent++
	kind := 3 + m.rnd.IntN(2)
	message := fmt.Sprintf("[%d,%q,{%d}]", kind, k.id, c.sent) // no JSON: that is not the relay's to judge
	m.event("%s answers %q as message %d", c.identity, k.id, c.sent)
	reads := len(k.asker.l.Unwritten()) <= modelConfig.LinkBacklog
	if k.limit.After(m.now) && !k.asker.dead && !reads {
		m.Lates++
		c.late[c.sent] = true
	} else if k.limit.After(m.now) && !k.asker.dead {
		m.Answers++
		k.answered = message
		c.taken[c.sent] = true
	} else {
		m.Lates++
		c.late[c.sent] = given < maxUnanswered
	}
	m.r.Message(c.c, []byte(message), 0, false)
}

// lost ends a link. The answers that it has not read are the owners'.
func (m *model) lost(r *Relay, l *modelLink) {
	for rest := append(bytes.Clone(l.in), l.l.Unwritten()...); ; {
		f, n, err := unixipc.Parse(rest, 1<<20)
		if err != nil || n == 0 {
			break
		}
		rest = rest[n:]
		if k := m.calls[f.Ref]; f.Type == unixipc.Result && f.Flags&unixipc.Answered != 0 && k.charger.open {
			c, serial := k.charger, serialOf([]byte(k.answered))
			c.late[serial], c.astray[serial] = true, true
			delete(c.taken, serial)
			m.Astray++
		}
	}
	r.Lost(l.l)
}

// routeResult holds a RESULT of a CALL against what happened to it.
func (m *model) result(l *modelLink, k *modelCall, f unixipc.Frame) {
	k.results++
	if l != k.asker || string(f.Key) != k.charger.identity || k.results > 1 {
		m.fail("link %d gets RESULT %d, its %d.", l.l.id, f.Ref, k.results)
	}
	if f.Flags&unixipc.Answered != 0 {
		if _, message, ok := unixipc.ParseAnswer(f.Payload); !ok || string(message) != k.answered {
			m.fail("CALL %d gets %q; the answer was %q", f.Ref, message, k.answered)
		}
		return
	}
	var body unixipc.ResultBody
	_ = json.Unmarshal(f.Payload, &body)
	m.event("RESULT %d: %+v", f.Ref, body)
	gone := !k.charger.open || k.charger.conn != k.conn
	fits := false
	switch body.Status {
	case unixipc.StatusTimeout:
		m.Timeouts++
		fits = !k.limit.After(m.now)
	case unixipc.StatusClosed:
		fits = gone && k.sent
	case unixipc.StatusOffline:
		fits = gone && !k.sent
	case unixipc.StatusFull, unixipc.StatusRefused:
		fits = !k.sent
	}
	if !fits || k.answered != "" || body.Sent != k.sent {
		m.fail("CALL %d gets %+v: %+v", f.Ref, body, k)
	}
}

// checkCalls: each CALL has one RESULT, if its asker lives.
func (m *model) checkCalls() {
	for token, k := range m.calls {
		if k.results == 0 && !k.asker.dead {
			m.fail("CALL %d has no RESULT: %+v", token, k)
		}
	}
}
