// Package bridge connects each charger that a gateway holds to a central system that
// speaks OCPP-J over WebSocket, and keeps the charger when the central system goes away.
//
//	bridge.go        what the gateway tells: chargers come, send, move and go
//	authorize.go     who may connect, as the central system says
//	session.go       one charger: its connection to the central system, and its loss
//	reroute.go       a charger whose central system is another one now
//	delivery.go      the charger's messages on their way there, and their answers
//	call.go          the central system's CALLs on their way to the charger
//	boot.go          what a central system wants to hear on a new connection
//	mirror.go        copies for a second central system
//	mailbox.go       one owner for each charger's state, without a goroutine
//	head.go          what is read of an OCPP-J message
//	credentials.go   what is left with the gateway for the next bridge
package bridge

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/cmd/holdfast-bridge/route"
	"holdfast/cmd/holdfast-bridge/upstream"
	"holdfast/proc"
)

// Config is what all chargers have in common.
type Config struct {
	Name      string // as a processor
	Authorize bool   // the gateway asks who may connect
	Queue     *upstream.Queue
	Logger    *slog.Logger
	Metrics   *Metrics

	Passwords     map[string]string // by identity, for a bridge that is not asked; nil: none
	AnswerTimeout time.Duration     // of a central system to a charger's CALL
	CallTimeout   time.Duration     // of a charger to a central system's CALL; 0: the gateway's
	Attempts      int               // CALLs that a central system leaves unanswered, before the charger gets an error
	Linger        time.Duration     // how long a connection stays open when its charger has gone
	BootOnRedial  string            // none, replay or trigger
	OfflineReply  map[string]bool   // actions that are answered in place of an absent central system
}

// Bridge is all chargers.
type Bridge struct {
	cfg      Config
	routes   atomic.Pointer[route.Set]
	sessions sync.Map // of identity to *session
	count    atomic.Int64
	leaving  atomic.Bool  // no more dials
	draining atomic.Bool  // no more CALLs to chargers
	under    atomic.Int64 // CALLs under way at chargers
	trips    roundTrips
	// Of the gateway, from its WELCOME:
	ackTimeout atomic.Int64 // nanoseconds; 0: not known
	maxNote    atomic.Int64 // bytes; -1: not known
	maxMessage atomic.Int64 // bytes; 0: not known

	mu       sync.Mutex
	admitted map[string]*admitted // connections made for an AUTHORIZE, until OPENED takes them
	left     map[string]*leftover // what sessions that have ended knew of a message given back
}

// New returns a bridge.
func New(c Config, routes *route.Set) *Bridge {
	b := &Bridge{cfg: c, admitted: map[string]*admitted{}, left: map[string]*leftover{}}
	b.routes.Store(routes)
	b.maxNote.Store(-1)
	return b
}

// window is how many deliveries may be unacknowledged: each charger has one at most, and
// those of a central system that is slow must leave room for others.
const window = 65536

// Processor returns the configuration of the bridge as a processor. It runs with Handle.
func (b *Bridge) Processor() proc.Config {
	c := proc.Config{
		Name: b.cfg.Name, Logger: b.cfg.Logger, Window: window, Concurrency: 4096,
		OpenedNote: b.opened, Closed: b.closed, Moved: b.moved, Joined: b.joined,
		GaveBack: func(ch *proc.Charger, _ uint64, pause time.Duration, err error) {
			b.cfg.Metrics.GivenBack.Inc()
			b.cfg.Logger.Debug("message waits at the gateway", "charger", ch.Identity(), "pause", pause.String(), "reason", err.Error())
		},
		ReplyFailed: func(_ context.Context, ch *proc.Charger, _ uint64, err error) {
			b.cfg.Metrics.Refused("reply").Inc()
			b.cfg.Logger.Warn("the central system's answer did not reach the charger", "charger", ch.Identity(), "reason", err.Error())
		},
	}
	if b.cfg.Authorize {
		c.Authorize = b.authorize
	}
	return c
}

// errUnknown gives back what comes for a charger that was never shown.
var errUnknown = errors.New("the charger was not shown to the bridge")

// Handle takes a message of a charger.
func (b *Bridge) Handle(_ context.Context, ch *proc.Charger, m proc.Message) ([]byte, error) {
	s := b.find(ch.Identity())
	if s == nil {
		return nil, errUnknown
	}
	answer, later := m.Later()
	s.do(func() {
		s.deliver(&delivery{message: m, head: parseHead(m.Payload), answer: answer, began: time.Now()})
	})
	return nil, later
}

func (b *Bridge) find(identity string) *session {
	if s, ok := b.sessions.Load(identity); ok {
		return s.(*session)
	}
	return nil
}

// enter runs f for the session of a charger, a new one if it has none.
func (b *Bridge) enter(identity string, f func(*session)) {
	for again := true; again; {
		fresh := &session{b: b, identity: identity, calls: map[string]*call{}, since: time.Now()}
		at, found := b.sessions.LoadOrStore(identity, fresh)
		if !found {
			b.count.Add(1)
		}
		s := at.(*session)
		s.do(func() {
			if again = s.ended; !again {
				if !found {
					s.remember()
				}
				f(s)
			}
		})
	}
}

// joined takes what the gateway says of itself.
func (b *Bridge) joined(w proc.WelcomeBody) {
	b.ackTimeout.Store(w.AckTimeoutMS * int64(time.Millisecond))
	b.maxNote.Store(int64(w.MaxNote))
	b.maxMessage.Store(int64(w.MaxMessage))
	for _, warning := range w.Warnings {
		b.cfg.Logger.Warn("the gateway warns", "warning", warning)
	}
	if b.cfg.Authorize && w.MaxNote == 0 {
		b.cfg.Logger.Error("the gateway keeps no notes (release 0.1): auth processor needs a later one, chargers with a password are refused")
	}
}

func (b *Bridge) opened(_ context.Context, ch *proc.Charger, o proc.OpenedBody) (note []byte, err error) {
	b.enter(ch.Identity(), func(s *session) { s.open(ch, o) })
	return nil, nil
}

func (b *Bridge) closed(_ context.Context, ch *proc.Charger, c proc.ClosedBody) {
	if s := b.find(ch.Identity()); s != nil {
		s.do(func() { s.leave(b.cfg.Linger, "the charger has gone") })
	}
}

// lostLinger is how long a charger may take to be shown again by a link that comes back.
const lostLinger = 30 * time.Second

func (b *Bridge) moved(_ context.Context, ch *proc.Charger, lost error) {
	linger := time.Duration(0)
	if lost != nil {
		linger = lostLinger
	}
	if s := b.find(ch.Identity()); s != nil {
		s.do(func() { s.leave(linger, "another bridge has the charger") })
	}
}

// Reroute takes new routes, and moves the chargers whose route changed.
func (b *Bridge) Reroute(routes *route.Set) {
	b.routes.Store(routes)
	b.sessions.Range(func(_, s any) bool {
		s.(*session).post(s.(*session).reroute)
		return true
	})
}

// A Move is a charger whose route would change.
type Move struct{ Charger, From, To string }

// Moves returns which chargers Reroute would move.
func (b *Bridge) Moves(routes *route.Set) (moves []Move) {
	var mu sync.Mutex
	b.each(func(s *session) {
		to := ""
		if r, ok := routes.Find(s.identity, s.opened.Subprotocol); ok {
			to = r.Address(s.identity)
		}
		if s.ch != nil && to != s.target.URL {
			mu.Lock()
			defer mu.Unlock()
			moves = append(moves, Move{s.identity, s.target.URL, to})
		}
	})
	mu.Lock()
	defer mu.Unlock()
	return slices.Clone(moves)
}

// each runs f for every charger, on any goroutine, and waits until it has: but not for
// those that are stuck, such as in a write to a central system that does not read.
func (b *Bridge) each(f func(*session)) {
	var running sync.WaitGroup
	b.sessions.Range(func(_, at any) bool {
		s := at.(*session)
		running.Add(1)
		s.post(func() {
			defer running.Done()
			f(s)
		})
		return true
	})
	done := make(chan struct{})
	go func() {
		running.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(eachTimeout):
	}
}

const eachTimeout = 3 * time.Second

// Leave prepares for the end: there are no more dials, and when no charger has a CALL that
// it has not answered, or after so much time, no more CALLs. The gateway's link must stay
// until it returns, because the answers come by it.
func (b *Bridge) Leave(within time.Duration) {
	b.leaving.Store(true)
	for end := time.Now().Add(within); b.under.Load() > 0 && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	b.draining.Store(true)
}

// End closes all connections to central systems, and waits a little so that they hear why.
func (b *Bridge) End() {
	if b.Chargers() > 0 {
		defer time.Sleep(250 * time.Millisecond)
	}
	b.each(func(s *session) { s.end("the bridge leaves") })
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range b.admitted {
		a.conn.Close(1001, "the bridge leaves")
	}
}
