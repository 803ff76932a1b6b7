package metrics

import (
	"crypto/tls"
	"strconv"
	"sync"
	"time"

	"holdfast/conn"
	"holdfast/unixipc"
)

// LoopCounters are what a shard counts: plain numbers that its loop owns.
type LoopCounters struct {
	Kinds  map[connKind]*kindCount
	closed [len(closers)][len(codeKinds)]uint64

	MessagesIn, BytesIn   uint64
	MessagesOut, BytesOut uint64
	Pauses                uint64
	Poison                uint64
	NotTaken              uint64 // messages
	Joined                uint64
	Left, LeftUnclean     uint64

	Delivered, Redelivered, GivenBack uint64
	Acknowledged                      histogram

	calls    map[unixipc.Status]uint64
	callTime histogram // of those that were answered

	turns histogram
	turn  time.Time     // of which took is
	took  time.Duration // so far
}

// connKind is how connections are told apart.
type connKind struct{ Subprotocol, TLS string }

type kindCount struct {
	Held   int
	Opened uint64
}

// maxKinds bounds what /metrics says about connections: subprotocols come from
// the configuration, but a gateway that was upgraded has seen many.
const maxKinds = 64

func NewLoopCounters() LoopCounters {
	return LoopCounters{Kinds: map[connKind]*kindCount{}, calls: map[unixipc.Status]uint64{}}
}

// Kind is where c is counted.
func (l *LoopCounters) Kind(c *conn.Conn) *kindCount {
	return l.of(connKind{c.Subprotocol.String(), TLSOf(c)})
}

// of counts a kind. Once all are taken there is one for the rest; as none is
// ever given up, a connection leaves the one it entered.
func (l *LoopCounters) of(k connKind) *kindCount {
	if l.Kinds[k] == nil && len(l.Kinds) >= maxKinds-1 {
		k = connKind{"other", "other"}
	}
	if l.Kinds[k] == nil {
		l.Kinds[k] = new(kindCount)
	}
	return l.Kinds[k]
}

// TLSOf is the version of TLS of a connection, or none.
func TLSOf(c *conn.Conn) string {
	if c.TLS == nil {
		return noTLS
	}
	return tls.VersionName(c.TLS.Version())
}

const noTLS = "none"

// EndTurn is called, perhaps several times, at the end of a turn that began at
// began.
func (l *LoopCounters) EndTurn(began time.Time) {
	if began != l.turn {
		if !l.turn.IsZero() {
			l.turns.Observe(turn, l.took)
		}
		l.turn = began
	}
	l.took = time.Since(began)
}

// closers are those who end a connection.
var closers = [...]conn.By{conn.ByCharger, conn.ByProcessor, conn.ByOperator, conn.ByGateway, conn.ByNetwork}

// codeKinds are the kinds of close codes: a charger may send any of thousands.
var codeKinds = [...]string{"normal", "none", "broken", "violation", "policy", "too_big", "restart", "other"}

func codeKind(code int) int {
	switch code {
	case conn.CodeNormal, conn.CodeGoingAway:
		return 0
	case conn.CodeNoStatus:
		return 1
	case conn.CodeAbnormal:
		return 2
	case conn.CodeProtocolError, conn.CodeUnsupported, conn.CodeInvalidData:
		return 3
	case conn.CodePolicy:
		return 4
	case conn.CodeTooBig:
		return 5
	case conn.CodeRestart, conn.CodeTryLater:
		return 6
	}
	return len(codeKinds) - 1
}

func (l *LoopCounters) CountClosed(why conn.Close) {
	for i, by := range closers {
		if by == why.By {
			l.closed[i][codeKind(why.Code)]++
		}
	}
}

// Called counts a CALL that has come to its end.
func (l *LoopCounters) Called(status unixipc.Status, took time.Duration) {
	l.calls[status]++
	if status == unixipc.StatusOK {
		l.callTime.Observe(callTime, took)
	}
}

// AppendTo adds what was counted to s.
func (l *LoopCounters) AppendTo(s Samples) {
	for k, v := range l.Kinds {
		s.Gauge(connections, float64(v.Held), k.Subprotocol, k.TLS)
		s.count(opened, v.Opened, k.Subprotocol, k.TLS)
	}
	for i, by := range closers {
		for j, code := range codeKinds {
			if l.closed[i][j] > 0 {
				s.count(closed, l.closed[i][j], string(by), code)
			}
		}
	}
	s.count(messages, l.MessagesIn, "in")
	s.count(messages, l.MessagesOut, "out")
	s.count(messageBytes, l.BytesIn, "in")
	s.count(messageBytes, l.BytesOut, "out")
	s.count(pauses, l.Pauses)
	s.count(deliveries, l.Delivered, "false")
	s.count(deliveries, l.Redelivered, "true")
	s.count(nacks, l.GivenBack)
	s.histogram(AckTime, &l.Acknowledged)
	for status, v := range l.calls {
		outcome := string(status)
		if status == unixipc.StatusOK {
			outcome = "answered"
		}
		s.count(calls, v, outcome)
	}
	s.histogram(callTime, &l.callTime)
	s.count(poison, l.Poison)
	s.count(notTaken, l.NotTaken)
	s.count(linksJoined, l.Joined)
	s.count(linksLeft, l.Left, "true")
	s.count(linksLeft, l.LeftUnclean, "false")
	s.histogram(turn, &l.turns)
}

// Counters are what is counted outside of the loops, where a lock costs nothing.
type Counters struct {
	mu         sync.Mutex
	handshakes map[handshakeOutcome]uint64
	took       histogram
	refusals   map[string]uint64 // by the name of the reason
	refused    uint64
	noFiles    uint64
	upgrades   map[string]uint64 // by outcome
	recoveries uint64
	phases     map[string]*histogram
	pause      histogram
}

type handshakeOutcome struct {
	outcome string // opened, refused or failed
	status  int    // HTTP; 0: none
}

// NewCounters counts nothing yet; outcomes are those of upgrades, which are shown from
// the start.
func NewCounters(outcomes ...string) *Counters {
	c := &Counters{
		handshakes: map[handshakeOutcome]uint64{},
		refusals:   map[string]uint64{},
		upgrades:   map[string]uint64{},
		phases:     map[string]*histogram{},
	}
	for _, o := range outcomes {
		c.upgrades[o] = 0
	}
	return c
}

func (c *Counters) Handshake(outcome string, status int, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handshakes[handshakeOutcome{outcome, status}]++
	if outcome == "opened" {
		c.took.Observe(handshakeTime, took)
	}
}

// Refused counts a handshake that was refused, for a reason of conn.RefusalReasons.
func (c *Counters) Refused(reason string, status int) {
	c.Handshake("refused", status, 0)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refusals[reason]++
}

func (c *Counters) LinkRefused() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused++
}

// NoFile counts a charger that was refused for want of a file descriptor.
func (c *Counters) NoFile() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.noFiles++
}

func (c *Counters) Phase(name string, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phases[name] == nil {
		c.phases[name] = new(histogram)
	}
	c.phases[name].Observe(upgradePhase, took)
}

// Recovered counts a crash of the process before, after which this one goes on.
func (c *Counters) Recovered() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.recoveries++
}

// Upgraded counts an upgrade that is over; pause is 0 if it did not come to one.
func (c *Counters) Upgraded(outcome string, pause time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.upgrades[outcome]++
	if pause > 0 {
		c.pause.Observe(upgradePause, pause)
	}
}

// AppendTo adds what was counted to s.
func (c *Counters) AppendTo(s Samples) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for reason, n := range c.refusals {
		s.count(refusals, n, reason)
	}
	for o, n := range c.handshakes {
		status := ""
		if o.status > 0 {
			status = strconv.Itoa(o.status)
		}
		s.count(handshakes, n, o.outcome, status)
	}
	s.histogram(handshakeTime, &c.took)
	s.count(refused, c.refused)
	s.count(recoveries, c.recoveries)
	s.count(noFiles, c.noFiles)
	for outcome, n := range c.upgrades {
		s.count(upgrades, n, outcome)
	}
	for phase, v := range c.phases {
		s.histogram(upgradePhase, v, phase)
	}
	s.histogram(upgradePause, &c.pause)
}
