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
func (n *LoopCounters) Kind(c *conn.Conn) *kindCount {
	return n.of(connKind{c.Subprotocol.String(), TLSOf(c)})
}

// of counts a kind. Once all are taken there is one for the rest; as none is
// ever given up, a connection leaves the one it entered.
func (n *LoopCounters) of(k connKind) *kindCount {
	if n.Kinds[k] == nil && len(n.Kinds) >= maxKinds-1 {
		k = connKind{"other", "other"}
	}
	if n.Kinds[k] == nil {
		n.Kinds[k] = new(kindCount)
	}
	return n.Kinds[k]
}

// TLSOf is the version of TLS of a connection, or none.
func TLSOf(c *conn.Conn) string {
	if c.TLS == nil {
		return NoTLS
	}
	return tls.VersionName(c.TLS.Version())
}

const NoTLS = "none"

// EndTurn is called, perhaps several times, at the end of a turn that began at
// began.
func (n *LoopCounters) EndTurn(began time.Time) {
	if began != n.turn {
		if !n.turn.IsZero() {
			n.turns.Observe(Turn, n.took)
		}
		n.turn = began
	}
	n.took = time.Since(began)
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

func (n *LoopCounters) CountClosed(why conn.Close) {
	for i, by := range closers {
		if by == why.By {
			n.closed[i][codeKind(why.Code)]++
		}
	}
}

// Called counts a CALL that has come to its end.
func (n *LoopCounters) Called(status unixipc.Status, took time.Duration) {
	n.calls[status]++
	if status == unixipc.StatusOK {
		n.callTime.Observe(CallTime, took)
	}
}

// AppendTo adds what was counted to s.
func (n *LoopCounters) AppendTo(s Samples) {
	for k, v := range n.Kinds {
		s.Gauge(Connections, float64(v.Held), k.Subprotocol, k.TLS)
		s.count(Opened, v.Opened, k.Subprotocol, k.TLS)
	}
	for i, by := range closers {
		for j, code := range codeKinds {
			if n.closed[i][j] > 0 {
				s.count(Closed, n.closed[i][j], string(by), code)
			}
		}
	}
	s.count(Messages, n.MessagesIn, "in")
	s.count(Messages, n.MessagesOut, "out")
	s.count(Bytes, n.BytesIn, "in")
	s.count(Bytes, n.BytesOut, "out")
	s.count(Pauses, n.Pauses)
	s.count(Deliveries, n.Delivered, "false")
	s.count(Deliveries, n.Redelivered, "true")
	s.count(Nacks, n.GivenBack)
	s.histogram(AckTime, &n.Acknowledged)
	for status, v := range n.calls {
		outcome := string(status)
		if status == unixipc.StatusOK {
			outcome = "answered"
		}
		s.count(Calls, v, outcome)
	}
	s.histogram(CallTime, &n.callTime)
	s.count(Poison, n.Poison)
	s.count(NotTaken, n.NotTaken)
	s.count(LinksJoined, n.Joined)
	s.count(LinksLeft, n.Left, "true")
	s.count(LinksLeft, n.LeftUnclean, "false")
	s.histogram(Turn, &n.turns)
}

// Counters are what is counted outside of the loops, where a lock costs nothing.
type Counters struct {
	mu         sync.Mutex
	handshakes map[handshakeOutcome]uint64
	took       histogram
	refused    uint64
	upgrades   map[string]uint64 // by outcome
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
	t := &Counters{
		handshakes: map[handshakeOutcome]uint64{},
		upgrades:   map[string]uint64{},
		phases:     map[string]*histogram{},
	}
	for _, o := range outcomes {
		t.upgrades[o] = 0
	}
	return t
}

func (c *Counters) Handshake(outcome string, status int, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handshakes[handshakeOutcome{outcome, status}]++
	if outcome == "opened" {
		c.took.Observe(HandshakeTime, took)
	}
}

func (c *Counters) LinkRefused() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused++
}

func (c *Counters) Phase(name string, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phases[name] == nil {
		c.phases[name] = new(histogram)
	}
	c.phases[name].Observe(UpgradePhase, took)
}

// Upgraded counts an upgrade that is over; pause is 0 if it did not come to one.
func (c *Counters) Upgraded(outcome string, pause time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.upgrades[outcome]++
	if pause > 0 {
		c.pause.Observe(UpgradePause, pause)
	}
}

// AppendTo adds what was counted to s.
func (c *Counters) AppendTo(s Samples) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for o, n := range c.handshakes {
		status := ""
		if o.status > 0 {
			status = strconv.Itoa(o.status)
		}
		s.count(Handshakes, n, o.outcome, status)
	}
	s.histogram(HandshakeTime, &c.took)
	s.count(Refused, c.refused)
	for outcome, n := range c.upgrades {
		s.count(Upgrades, n, outcome)
	}
	for phase, v := range c.phases {
		s.histogram(UpgradePhase, v, phase)
	}
	s.histogram(UpgradePause, &c.pause)
}
