package main

import (
	"crypto/tls"
	"log/slog"
	"sync/atomic"
	"time"

	"holdfast/cmd/holdfast/config"
	"holdfast/cmd/holdfast/metrics"
	"holdfast/conn"
	"holdfast/relay"
	"holdfast/unixipc"
)

// A world is one loop with everything it owns: its connections, its relay and
// its links. It translates between conn and relay, which never meet. All its
// methods run on the loop, but those of its fields that say otherwise.
type world struct {
	index  int
	worlds []*world // all of them, this one included
	loop   *conn.Loop
	relay  *relay.Relay
	log    *slog.Logger
	held   *atomic.Int64 // connections of all worlds
	joined *atomic.Int64 // links of all worlds

	links map[*relay.Link]*link
	// maxUnwritten bytes for a link are more than deliveries alone can make:
	// its orders do, and are not read beyond.
	maxUnwritten int
	writable     []*relay.Link // to be written at the end of the turn

	counters metrics.LoopCounters

	export *export       // while being handed over
	late   *handOverLate // since it was handed over: for what comes after
}

func newWorlds(c *config.Config, log *slog.Logger) ([]*world, error) {
	worlds := make([]*world, c.Loops)
	held, joined := new(atomic.Int64), new(atomic.Int64)
	for i := range worlds {
		w := &world{index: i, worlds: worlds, log: log, held: held, joined: joined, links: map[*relay.Link]*link{}, maxUnwritten: 2<<20 + c.MaxMessage, counters: metrics.NewLoopCounters()}
		var err error
		w.loop, err = conn.NewLoop(conn.Config{
			MaxMessage:   c.MaxMessage,
			WriteBuffer:  c.WriteBuffer,
			MemoryLimit:  c.BufferBytes / c.Loops,
			PingInterval: c.PingInterval,
			IdleTimeout:  c.IdleTimeout,
			WriteTimeout: c.WriteTimeout,
			CloseTimeout: c.CloseTimeout,
		}, w)
		if err != nil {
			return nil, err
		}
		w.relay = relay.New(relay.Config{
			Version:       version,
			Loop:          i,
			Loops:         c.Loops,
			MaxMessage:    c.MaxMessage,
			QueueMessages: c.QueueMessages,
			QueueBytes:    c.QueueBytes,
			BufferBytes:   c.BufferBytes / c.Loops,
			Window:        c.Window,
			MaxWindow:     config.MaxWindow,
			ChargerWindow: chargerWindow,
			AckTimeout:    c.AckTimeout,
			MaxAttempts:   c.MaxAttempts,

			CallTimeout:    c.CallTimeout,
			MaxCallTimeout: c.MaxCallTimeout,
			CallQueue:      c.CallQueue,

			Observer: observer{w},
		}, toChargers{w})
		w.relay.SetNow(time.Now())
		worlds[i] = w
	}
	return worlds, nil
}

// chargerWindow is how many deliveries of one charger may be in flight.
const chargerWindow = 16

// run turns the loop until it is stopped.
func (w *world) run() error { return w.loop.Run() }

// open takes over a charger whose handshake is done.
func (w *world) open(fd int, s conn.State, early []byte) {
	if w.late != nil {
		w.late.open(w, fd, s, early)
		return
	}
	w.relay.SetNow(w.loop.Now())
	if handle, ok := w.relay.Connected(s.Identity); ok {
		old := w.loop.Lookup(handle)
		old.ReadLeft() // what the charger had sent before it came again
		old.Drop(conn.Close{Code: conn.CodePolicy, Reason: "replaced by a new connection of the same identity", By: conn.ByGateway})
	}
	c, err := w.loop.Add(fd, s, nil, early)
	if err != nil {
		w.log.Error("connection lost", "charger", s.Identity, "err", err)
		_ = closeFd(fd)
		w.held.Add(-1)
		return
	}
	attrs := []any{"charger", s.Identity, "remote", s.Remote.String(), "subprotocol", s.Subprotocol.String(), "path", s.Path.String()}
	if s.TLS != nil {
		attrs = append(attrs, "tls", s.TLS.String())
	}
	if s.Certificate != nil {
		attrs = append(attrs, "certificate", s.Certificate.Subject)
	}
	w.log.Info("opened", attrs...)
	k := w.counters.Kind(c)
	k.Held++
	k.Opened++
	c.User = w.relay.Opened(s.Identity, s.Subprotocol.String(), c.Handle())
}

// Message implements conn.Handler.
func (w *world) Message(c *conn.Conn, payload []byte, binary bool) {
	w.relay.SetNow(w.loop.Now())
	w.counters.MessagesIn++
	w.counters.BytesIn += uint64(len(payload))
	w.relay.Message(c.User.(*relay.Charger), payload, binary)
}

// Sent implements conn.Handler.
func (w *world) Sent(c *conn.Conn, position uint64) {
	w.relay.Sent(c.User.(*relay.Charger), position)
}

// Closed implements conn.Handler.
func (w *world) Closed(c *conn.Conn, why conn.Close) {
	w.relay.SetNow(w.loop.Now())
	w.log.Info("closed", "charger", c.Identity, "code", why.Code, "reason", why.Reason, "by", string(why.By),
		"held", w.loop.Now().Sub(time.UnixMilli(c.Opened)).Round(time.Millisecond).String())
	w.relay.Closed(c.User.(*relay.Charger), unixipc.ClosedBody{Code: why.Code, Reason: why.Reason, By: string(why.By)})
	c.User = nil
	w.held.Add(-1)
	w.counters.Kind(c).Held--
	w.counters.CountClosed(why)
}

// Alarm implements conn.Handler.
func (w *world) Alarm(now time.Time) {
	w.relay.SetNow(now)
	w.relay.Tick()
}

// EndTurn implements conn.Handler: one write for each link that has something.
func (w *world) EndTurn() {
	for i := 0; i < len(w.writable); i++ {
		if l := w.links[w.writable[i]]; l != nil {
			l.flush()
		}
	}
	clear(w.writable)
	w.writable = w.writable[:0]
	w.loop.SetAlarm(w.relay.Deadline())
	w.counters.EndTurn(w.loop.Now())
}

// toChargers implements relay.Gateway.
type toChargers struct{ *world }

func (w toChargers) Send(handle uint64, payload []byte, binary bool) (uint64, unixipc.Status) {
	position, err := w.loop.Lookup(handle).Send(payload, binary)
	switch err {
	case nil:
		w.counters.MessagesOut++
		w.counters.BytesOut += uint64(len(payload))
		return position, unixipc.StatusOK
	case conn.ErrFull:
		return 0, unixipc.StatusFull
	}
	return 0, unixipc.StatusClosed
}

func (w toChargers) Close(handle uint64, code int, reason, by string) {
	w.loop.Lookup(handle).Close(conn.Close{Code: code, Reason: reason, By: conn.By(by)})
}

func (w toChargers) Pause(handle uint64) {
	w.counters.Pauses++
	w.loop.Lookup(handle).Pause()
}

func (w toChargers) Resume(handle uint64) { w.loop.Lookup(handle).Resume() }

func (w toChargers) Describe(handle uint64) unixipc.OpenedBody {
	c := w.loop.Lookup(handle)
	body := unixipc.OpenedBody{
		Subprotocol: c.Subprotocol.String(),
		Path:        c.Path.String(),
		Remote:      c.Remote.String(),
		Opened:      time.UnixMilli(c.Opened).UTC(),
		Certificate: certificateBody(c.Certificate),
	}
	if c.TLS != nil {
		body.TLS = &unixipc.TLSBody{Version: tls.VersionName(c.TLS.Version()), Suite: tls.CipherSuiteName(c.TLS.CipherSuite())}
	}
	return body
}

func (w toChargers) LinkReady(l *relay.Link) { w.writable = append(w.writable, l) }

func (w toChargers) Forward(loop int, f func(*relay.Relay)) {
	there := w.worlds[loop]
	there.loop.Post(func() {
		there.relay.SetNow(there.loop.Now())
		f(there.relay)
	})
}

func (w toChargers) Called(identity string, status unixipc.Status, took time.Duration) {
	w.counters.Called(status, took)
	w.log.Debug("call ended", "charger", identity, "status", string(status), "took", took.String())
}

func (w toChargers) Poison(identity string, payload []byte, attempts int) {
	w.counters.Poison++
	w.log.Error("message given up: processors died of it", "charger", identity, "attempts", attempts,
		"bytes", len(payload), "message", string(payload[:min(len(payload), 200)]))
}

// certificateBody is c as processors are told of it.
func certificateBody(c *conn.Certificate) *unixipc.CertificateBody {
	if c == nil {
		return nil
	}
	return &unixipc.CertificateBody{Subject: c.Subject, SANs: c.Names}
}
