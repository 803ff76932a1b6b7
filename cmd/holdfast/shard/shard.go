package shard

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

// A Shard is one loop with everything it owns: its connections, its relay and
// its links. It translates between conn and relay, which never meet. All its
// methods run on the loop, but those of its fields that say otherwise.
type Shard struct {
	Index  int
	shards []*Shard // all of them, this one included
	Loop   *conn.Loop
	Relay  *relay.Relay
	Log    *slog.Logger
	Held   *atomic.Int64 // connections of all shards
	Joined *atomic.Int64 // links of all shards

	Links map[*relay.Link]*Link
	// maxUnwritten bytes for a link are more than deliveries alone can make:
	// its orders do, and are not read beyond.
	maxUnwritten int
	writable     []*relay.Link // to be written at the end of the turn

	Counters metrics.LoopCounters

	Successor Successor // since it was handed over: for what comes after
}

// A Successor takes what becomes ready for a shard that was handed over.
type Successor interface {
	Open(w *Shard, fd int, s conn.State, early []byte)
	Join(w *Shard, fd int, hello unixipc.HelloBody, p unixipc.Peer, operator bool, rest []byte)
}

func New(c *config.Config, version string, log *slog.Logger) ([]*Shard, error) {
	shards := make([]*Shard, c.Loops)
	held, joined := new(atomic.Int64), new(atomic.Int64)
	for i := range shards {
		w := &Shard{Index: i, shards: shards, Log: log, Held: held, Joined: joined, Links: map[*relay.Link]*Link{}, maxUnwritten: 2<<20 + c.MaxMessage, Counters: metrics.NewLoopCounters()}
		var err error
		w.Loop, err = conn.NewLoop(conn.Config{
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
		w.Relay = relay.New(relay.Config{
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
			LinkBacklog:   1<<20 + c.BufferBytes/c.Loops/4,
			MaxAttempts:   c.MaxAttempts,

			CallTimeout:    c.CallTimeout,
			MaxCallTimeout: c.MaxCallTimeout,
			CallQueue:      c.CallQueue,

			Observer: observer{w},
		}, toChargers{w})
		w.BeginTurn(w.Loop.Now())
		shards[i] = w
	}
	return shards, nil
}

// chargerWindow is how many deliveries of one charger may be in flight.
const chargerWindow = 16

// Run turns the loop until it is stopped.
func (w *Shard) Run() error { return w.Loop.Run() }

// Open takes over a charger whose handshake is done.
func (w *Shard) Open(fd int, s conn.State, early []byte) {
	if w.Successor != nil {
		w.Successor.Open(w, fd, s, early)
		return
	}
	if handle, ok := w.Relay.Connected(s.Identity); ok {
		old := w.Loop.Lookup(handle)
		old.ReadLeft() // what the charger had sent before it came again
		old.Drop(conn.Close{Code: conn.CodePolicy, Reason: "replaced by a new connection of the same identity", By: conn.ByGateway})
	}
	c, err := w.Loop.Add(fd, s, nil, early)
	if err != nil {
		w.Log.Error("connection lost", "charger", s.Identity, "err", err)
		_ = CloseFD(fd)
		w.Held.Add(-1)
		return
	}
	attrs := []any{"charger", s.Identity, "remote", s.Remote.String(), "subprotocol", s.Subprotocol.String(), "path", s.Path.String()}
	if s.TLS != nil {
		attrs = append(attrs, "tls", s.TLS.String())
	}
	if s.Certificate != nil {
		attrs = append(attrs, "certificate", s.Certificate.Subject)
	}
	w.Log.Info("opened", attrs...)
	k := w.Counters.Kind(c)
	k.Held++
	k.Opened++
	c.User = w.Relay.Opened(s.Identity, s.Subprotocol.String(), c.Handle())
}

// BeginTurn implements conn.Handler.
func (w *Shard) BeginTurn(now time.Time) { w.Relay.SetNow(now) }

// Message implements conn.Handler.
func (w *Shard) Message(c *conn.Conn, payload []byte, binary bool) {
	w.Counters.MessagesIn++
	w.Counters.BytesIn += uint64(len(payload))
	w.Relay.Message(c.User.(*relay.Charger), payload, binary, c.Leaving())
}

// Sent implements conn.Handler.
func (w *Shard) Sent(c *conn.Conn, position uint64) {
	w.Relay.Sent(c.User.(*relay.Charger), position)
}

// Closed implements conn.Handler.
func (w *Shard) Closed(c *conn.Conn, why conn.Close) {
	w.Log.Info("closed", "charger", c.Identity, "code", why.Code, "reason", why.Reason, "by", string(why.By),
		"held", w.Loop.Now().Sub(time.UnixMilli(c.Opened)).Round(time.Millisecond).String())
	w.Relay.Closed(c.User.(*relay.Charger), unixipc.ClosedBody{Code: why.Code, Reason: why.Reason, By: string(why.By)})
	c.User = nil
	w.Held.Add(-1)
	w.Counters.Kind(c).Held--
	w.Counters.CountClosed(why)
}

// Alarm implements conn.Handler.
func (w *Shard) Alarm(time.Time) {
	w.Relay.Tick()
}

// EndTurn implements conn.Handler: one write for each link that has something.
func (w *Shard) EndTurn() {
	w.Relay.EndTurn()
	for i := 0; i < len(w.writable); i++ {
		if l := w.Links[w.writable[i]]; l != nil {
			l.Flush()
		}
	}
	clear(w.writable)
	w.writable = w.writable[:0]
	w.Loop.SetAlarm(w.Relay.Deadline())
	w.Counters.EndTurn(w.Loop.Now())
}

// toChargers implements relay.Gateway.
type toChargers struct{ *Shard }

func (w toChargers) Send(handle uint64, payload []byte, binary bool) (uint64, unixipc.Status) {
	position, err := w.Loop.Lookup(handle).Send(payload, binary)
	switch err {
	case nil:
		w.Counters.MessagesOut++
		w.Counters.BytesOut += uint64(len(payload))
		return position, unixipc.StatusOK
	case conn.ErrFull:
		return 0, unixipc.StatusFull
	}
	return 0, unixipc.StatusClosed
}

func (w toChargers) Close(handle uint64, code int, reason, by string) {
	w.Loop.Lookup(handle).Close(conn.Close{Code: code, Reason: reason, By: conn.By(by)})
}

func (w toChargers) Pause(handle uint64) {
	w.Counters.Pauses++
	w.Loop.Lookup(handle).Pause()
}

func (w toChargers) Resume(handle uint64) { w.Loop.Lookup(handle).Resume() }

func (w toChargers) Describe(handle uint64) unixipc.OpenedBody {
	c := w.Loop.Lookup(handle)
	body := unixipc.OpenedBody{
		Subprotocol: c.Subprotocol.String(),
		Path:        c.Path.String(),
		Remote:      c.Remote.String(),
		Opened:      time.UnixMilli(c.Opened).UTC(),
		Certificate: CertificateBody(c.Certificate),
	}
	if c.TLS != nil {
		body.TLS = &unixipc.TLSBody{Version: tls.VersionName(c.TLS.Version()), Suite: tls.CipherSuiteName(c.TLS.CipherSuite())}
	}
	return body
}

func (w toChargers) LinkReady(l *relay.Link) { w.writable = append(w.writable, l) }

func (w toChargers) Forward(loop int, f func(*relay.Relay)) {
	there := w.shards[loop]
	there.Loop.Post(func() { f(there.Relay) })
}

func (w toChargers) Called(identity string, status unixipc.Status, took time.Duration) {
	w.Counters.Called(status, took)
	w.Log.Debug("call ended", "charger", identity, "status", string(status), "took", took.String())
}

func (w toChargers) NotTaken(identity string, messages int) {
	w.Counters.NotTaken += uint64(messages)
	w.Log.Warn("messages not taken: the queue was full when the connection ended", "charger", identity, "messages", messages)
}

func (w toChargers) Poison(identity string, payload []byte, attempts int) {
	w.Counters.Poison++
	w.Log.Error("message given up: processors died of it", "charger", identity, "attempts", attempts,
		"bytes", len(payload), "message", string(payload[:min(len(payload), 200)]))
}

// CertificateBody is c as processors are told of it.
func CertificateBody(c *conn.Certificate) *unixipc.CertificateBody {
	if c == nil {
		return nil
	}
	return &unixipc.CertificateBody{Subject: c.Subject, SANs: c.Names}
}
