package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/cmd/holdfast/config"
	"holdfast/cmd/holdfast/credentials"
	"holdfast/cmd/holdfast/gate"
	"holdfast/cmd/holdfast/metrics"
	"holdfast/cmd/holdfast/shard"
	"holdfast/conn"
	"holdfast/conn/record"
	"holdfast/relay"
)

// acceptPause is how long accepting rests after an error, such as no file
// descriptor being left.
const acceptPause = 100 * time.Millisecond

// A handshaker lets chargers in: it accepts, has the handshake done on a bounded
// number of goroutines, and passes the connection to its loop.
type handshaker struct {
	handshake   conn.Handshake
	shards      []*shard.Shard
	log         *slog.Logger
	held        *atomic.Int64
	entering    atomic.Int64  // admitted, and not held yet
	slots       chan struct{} // one for each handshake in progress
	max         int
	rate        *rate
	userTimeout time.Duration
	keepAlive   time.Duration
	trimmer     *trimmer
	gate        *gate.Gate
	counters    *metrics.Counters

	timeout        time.Duration // of a whole handshake
	adminSocket    string
	clientIdentity string
	certificates   *credentials.Certificates // nil: no TLS listeners
	passwords      *credentials.Passwords    // nil: none
}

// newHandshaker reads the files that the listeners need.
func newHandshaker(c *config.Config, shards []*shard.Shard, g *gate.Gate, n *metrics.Counters, log *slog.Logger) (d *handshaker, err error) {
	d = &handshaker{
		shards:      shards,
		log:         log,
		held:        shards[0].Held,
		slots:       make(chan struct{}, c.Handshakes),
		max:         c.MaxConnections,
		rate:        newRate(c.HandshakesPerSec),
		userTimeout: c.IdleTimeout,
		keepAlive:   -1, // the pings do that
		trimmer:     newTrimmer(),
		gate:        g,
		counters:    n,

		timeout:        c.HandshakeTimeout,
		adminSocket:    c.Admin,
		clientIdentity: c.TLSClientIdentity,
	}
	if c.PingInterval == 0 {
		d.keepAlive = time.Minute
	}
	d.handshake = conn.Handshake{
		Paths:              c.Paths,
		Subprotocols:       c.Subprotocols,
		DefaultSubprotocol: c.DefaultSubprotocol,
		Lenient:            c.Lenient,
		Compression:        c.Compression,
	}
	if d.certificates, d.passwords, err = credentials.Read(c); err != nil {
		return nil, err
	}
	return d, nil
}

// tickets are the keys of TLS session tickets; nil without TLS.
func (d *handshaker) tickets() *credentials.Tickets {
	if d.certificates == nil {
		return nil
	}
	return d.certificates.Tickets
}

// watch notices changes of those files.
func (d *handshaker) watch() {
	if c := d.certificates; c != nil {
		c.WarnExpired(d.log)
		c.Watch(d.log)
		go c.Tickets.Run()
	}
	if d.passwords != nil {
		d.passwords.Watch(d.log)
	}
}

func (d *handshaker) listen(network, address string) (net.Listener, error) {
	lc := net.ListenConfig{KeepAlive: -1} // see setKeepAlive
	l, err := lc.Listen(context.Background(), network, address)
	if err != nil {
		return nil, fmt.Errorf("charger socket: %w", err)
	}
	return l, nil
}

// run accepts from l until it is closed. While all slots are taken, chargers
// wait in the backlog.
func (d *handshaker) run(l net.Listener, how config.Listener) {
	for {
		d.slots <- struct{}{}
		nc, err := l.Accept()
		if err != nil {
			<-d.slots
			over, again := d.gate.Stopped(err)
			if over {
				return
			}
			if !again {
				d.log.Error("cannot accept chargers", "err", err)
				time.Sleep(acceptPause)
			}
			continue
		}
		d.gate.Enter()
		go func() {
			defer func() {
				<-d.slots
				d.gate.Leave()
			}()
			d.letIn(nc, how)
		}()
	}
}

// setKeepAlive says whether the kernel sends keep-alives. A listener that was
// inherited knows nothing of its ListenConfig, and would turn them on.
func (d *handshaker) setKeepAlive(nc net.Conn) {
	c, ok := nc.(*net.TCPConn)
	if !ok {
		return
	}
	err := c.SetKeepAlive(d.keepAlive > 0)
	if err == nil && d.keepAlive > 0 {
		err = c.SetKeepAlivePeriod(d.keepAlive)
	}
	if err != nil {
		d.log.Warn("connection with the kernel's keep-alives", "remote", nc.RemoteAddr().String(), "err", err)
	}
}

// letIn does the handshake of a charger, TLS and WebSocket with one deadline,
// and passes the connection to its loop.
func (d *handshaker) letIn(nc net.Conn, how config.Listener) {
	began := time.Now()
	d.setKeepAlive(nc)
	a := applicant{remote: nc.RemoteAddr().String(), listener: how, deadline: began.Add(d.timeout)}
	held, s, early, err := d.shakeHands(nc, &a)
	if err != nil {
		_ = nc.Close()
		var refusal *conn.Refusal
		if errors.As(err, &refusal) {
			d.counters.Handshake("refused", refusal.Status, 0)
			d.log.Info("refused", "charger", refusal.Identity, "remote", a.remote, "status", refusal.Status, "code", refusal.Code, "reason", refusal.Why)
		} else {
			d.counters.Handshake("failed", 0, 0)
			d.log.Info("handshake failed", "remote", a.remote, "reason", err.Error())
		}
		return
	}
	defer d.entering.Add(-1)
	d.counters.Handshake("opened", http.StatusSwitchingProtocols, time.Since(began))
	fd, err := conn.Take(held)
	if err != nil {
		d.log.Error("connection lost", "charger", s.Identity, "remote", a.remote, "err", err)
		return
	}
	if d.userTimeout > 0 {
		if err := conn.SetUserTimeout(fd, d.userTimeout); err != nil {
			d.log.Warn("connection without a time-out of the kernel's", "charger", s.Identity, "err", err)
		}
	}
	d.trimmer.handshake(d.held.Add(1))
	w := d.shards[relay.LoopOf(s.Identity, len(d.shards))]
	w.Loop.Post(func() { w.Open(fd, s, early) })
}

// shakeHands returns the connection, its state and what the charger sent early.
// Without an error the charger counts as entering.
func (d *handshaker) shakeHands(nc net.Conn, a *applicant) (held net.Conn, s conn.State, early []byte, err error) {
	if err := nc.SetDeadline(a.deadline); err != nil {
		return nil, s, nil, fmt.Errorf("handshake: %w", err)
	}
	var tc *record.Conn
	talk := nc
	if a.listener.TLS {
		if tc, err = d.shakeTLS(nc, a); err != nil {
			return nil, s, nil, err
		}
		talk = tc
	}
	h, admitted := d.handshake, false
	h.Admit = func(identity string) *conn.Refusal {
		refusal := d.admit(identity)
		admitted = refusal == nil
		return refusal
	}
	h.Authorize = func(r conn.Request) *conn.Refusal { return d.authorize(*a, r) }
	s, early, err = h.Serve(talk)
	if err == nil && tc != nil {
		var more []byte
		if nc, s.TLS, more, err = tc.Detach(); err != nil {
			err = fmt.Errorf("handshake: %w", err)
		}
		early = append(early[:len(early):len(early)], more...)
		s.Certificate = a.certificate
	}
	if err != nil && admitted {
		d.entering.Add(-1)
	}
	return nc, s, early, err
}

// shakeTLS does the TLS handshake.
func (d *handshaker) shakeTLS(nc net.Conn, a *applicant) (*record.Conn, error) {
	tc, state, err := record.Server(nc, d.certificates.Config(a.listener.ClientAuth))
	switch {
	case errors.Is(err, record.ErrHTTP):
		refusal := conn.RefusalPlainHTTP.Refusal()
		conn.Refuse(nc, refusal)
		return nil, refusal
	case err != nil:
		return nil, err
	}
	a.tls, a.certificate = &state, credentials.CertificateOf(state)
	return tc, nil
}

// admit refuses chargers at the limits; one that is let in counts as entering.
// A charger that is held already only takes its own place: after a power cut
// all come back before their dead connections are noticed.
func (d *handshaker) admit(identity string) *conn.Refusal {
	if !d.rate.allow(time.Now()) {
		return conn.RefusalRate.Refusal()
	}
	if int(d.entering.Add(1)+d.held.Load()) > d.max && !d.holds(identity) {
		d.entering.Add(-1)
		return conn.RefusalFull.Refusal()
	}
	return nil
}

// holds asks the loop whether the charger is connected.
func (d *handshaker) holds(identity string) bool {
	w := d.shards[relay.LoopOf(identity, len(d.shards))]
	answer := make(chan bool, 1)
	w.Loop.Post(func() {
		_, held := w.Relay.Connected(identity)
		answer <- held
	})
	select {
	case held := <-answer:
		return held
	case <-time.After(d.timeout):
		return false
	}
}

// rate is a token bucket of one second's tokens; nil allows everything.
type rate struct {
	mu        sync.Mutex
	perSecond float64
	tokens    float64
	last      time.Time
}

func newRate(perSecond int) *rate {
	if perSecond == 0 {
		return nil
	}
	return &rate{perSecond: float64(perSecond), tokens: float64(perSecond)}
}

func (r *rate) allow(now time.Time) bool {
	if r == nil {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tokens = min(r.perSecond, r.tokens+now.Sub(r.last).Seconds()*r.perSecond)
	r.last = now
	if r.tokens < 1 {
		return false
	}
	r.tokens--
	return true
}
