package main

import (
	"crypto/tls"
	"strconv"
	"sync"
	"time"

	"holdfast/conn"
	"holdfast/unixipc"
)

// counters is what a world counts: plain numbers that its loop owns.
type counters struct {
	kinds  map[connKind]*kindCount
	closed [len(closers)][len(codeKinds)]uint64

	messagesIn, bytesIn   uint64
	messagesOut, bytesOut uint64
	pauses                uint64
	poison                uint64
	joined                uint64
	left, leftUnclean     uint64

	delivered, redelivered, givenBack uint64
	acknowledged                      spread

	calls    map[unixipc.Status]uint64
	callTime spread // of those that were answered

	turns spread
	turn  time.Time     // of which took is
	took  time.Duration // so far
}

// connKind is how connections are told apart.
type connKind struct{ subprotocol, tls string }

type kindCount struct {
	held   int
	opened uint64
}

// maxKinds bounds what /metrics says about connections: subprotocols come from
// the configuration, but a gateway that was upgraded has seen many.
const maxKinds = 64

func newCounters() counters {
	return counters{kinds: map[connKind]*kindCount{}, calls: map[unixipc.Status]uint64{}}
}

// kind is where c is counted.
func (n *counters) kind(c *conn.Conn) *kindCount {
	return n.of(connKind{c.Subprotocol.String(), tlsOf(c)})
}

// of counts a kind. Once all are taken there is one for the rest; as none is
// ever given up, a connection leaves the one it entered.
func (n *counters) of(k connKind) *kindCount {
	if n.kinds[k] == nil && len(n.kinds) >= maxKinds-1 {
		k = connKind{"other", "other"}
	}
	if n.kinds[k] == nil {
		n.kinds[k] = new(kindCount)
	}
	return n.kinds[k]
}

// tlsOf is the version of TLS of a connection, or none.
func tlsOf(c *conn.Conn) string {
	if c.TLS == nil {
		return noTLS
	}
	return tls.VersionName(c.TLS.Version())
}

const noTLS = "none"

// endTurn is called, perhaps several times, at the end of a turn that began at
// began.
func (n *counters) endTurn(began time.Time) {
	if began != n.turn {
		if !n.turn.IsZero() {
			n.turns.observe(metricTurn, n.took)
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

func (n *counters) countClosed(why conn.Close) {
	for i, by := range closers {
		if by == why.By {
			n.closed[i][codeKind(why.Code)]++
		}
	}
}

// called counts a CALL that has come to its end.
func (n *counters) called(status unixipc.Status, took time.Duration) {
	n.calls[status]++
	if status == unixipc.StatusOK {
		n.callTime.observe(metricCallTime, took)
	}
}

// appendTo adds what was counted to s.
func (n *counters) appendTo(s samples) {
	for k, v := range n.kinds {
		s.gauge(metricConnections, float64(v.held), k.subprotocol, k.tls)
		s.count(metricOpened, v.opened, k.subprotocol, k.tls)
	}
	for i, by := range closers {
		for j, code := range codeKinds {
			if n.closed[i][j] > 0 {
				s.count(metricClosed, n.closed[i][j], string(by), code)
			}
		}
	}
	s.count(metricMessages, n.messagesIn, "in")
	s.count(metricMessages, n.messagesOut, "out")
	s.count(metricBytes, n.bytesIn, "in")
	s.count(metricBytes, n.bytesOut, "out")
	s.count(metricPauses, n.pauses)
	s.count(metricDeliveries, n.delivered, "false")
	s.count(metricDeliveries, n.redelivered, "true")
	s.count(metricNacks, n.givenBack)
	s.spread(metricAckTime, &n.acknowledged)
	for status, v := range n.calls {
		outcome := string(status)
		if status == unixipc.StatusOK {
			outcome = "answered"
		}
		s.count(metricCalls, v, outcome)
	}
	s.spread(metricCallTime, &n.callTime)
	s.count(metricPoison, n.poison)
	s.count(metricLinksJoined, n.joined)
	s.count(metricLinksLeft, n.left, "true")
	s.count(metricLinksLeft, n.leftUnclean, "false")
	s.spread(metricTurn, &n.turns)
}

// tally is what is counted outside of the loops, where a lock costs nothing.
type tally struct {
	mu         sync.Mutex
	handshakes map[handshakeOutcome]uint64
	took       spread
	refused    uint64
	upgrades   map[string]uint64 // by outcome
	phases     map[string]*spread
	pause      spread
	last       *upgradeReport
}

type handshakeOutcome struct {
	outcome string // opened, refused or failed
	status  int    // HTTP; 0: none
}

// upgradeReport is what status says about it.
type upgradeReport struct {
	At          time.Time `json:"at"`
	Outcome     string    `json:"outcome"` // done or rolled_back
	Reason      string    `json:"reason,omitempty"`
	PauseMS     float64   `json:"pause_ms"` // 0: it did not come to a freeze
	TookSeconds float64   `json:"took_seconds"`
	Connections int64     `json:"connections"`
}

// Outcomes of an upgrade.
const (
	outcomeDone       = "done"
	outcomeRolledBack = "rolled_back"
)

func newTally() *tally {
	return &tally{
		handshakes: map[handshakeOutcome]uint64{},
		upgrades:   map[string]uint64{outcomeDone: 0, outcomeRolledBack: 0},
		phases:     map[string]*spread{},
	}
}

func (t *tally) handshake(outcome string, status int, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.handshakes[handshakeOutcome{outcome, status}]++
	if outcome == "opened" {
		t.took.observe(metricHandshakeTime, took)
	}
}

func (t *tally) linkRefused() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refused++
}

func (t *tally) phase(name string, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.phases[name] == nil {
		t.phases[name] = new(spread)
	}
	t.phases[name].observe(metricUpgradePhase, took)
}

// upgraded counts an upgrade that is over; pause is 0 if it did not come to one.
func (t *tally) upgraded(last upgradeReport, pause time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.upgrades[last.Outcome]++
	if pause > 0 {
		last.PauseMS = float64(pause.Microseconds()) / 1000
		t.pause.observe(metricUpgradePause, pause)
	}
	t.last = &last
}

func (t *tally) lastUpgrade() *upgradeReport {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last
}

// appendTo adds what was counted to s.
func (t *tally) appendTo(s samples) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for o, n := range t.handshakes {
		status := ""
		if o.status > 0 {
			status = strconv.Itoa(o.status)
		}
		s.count(metricHandshakes, n, o.outcome, status)
	}
	s.spread(metricHandshakeTime, &t.took)
	s.count(metricRefused, t.refused)
	for outcome, n := range t.upgrades {
		s.count(metricUpgrades, n, outcome)
	}
	for phase, v := range t.phases {
		s.spread(metricUpgradePhase, v, phase)
	}
	s.spread(metricUpgradePause, &t.pause)
}
