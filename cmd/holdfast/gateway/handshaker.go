package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"sync/atomic"
	"time"

	"holdfast/cmd/holdfast/addresses"
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

// shortageInterval is the least time between two lines of the log about one shortage.
const shortageInterval = time.Minute

// A handshaker lets chargers in: it accepts, has the handshake done on a bounded
// number of goroutines, and passes the connection to its loop.
type handshaker struct {
	handshake   conn.Handshake
	authorizer  authorizer
	shards      []*shard.Shard
	log         *slog.Logger
	held        *atomic.Int64
	entering    atomic.Int64  // admitted, and not held yet
	slots       chan struct{} // one for each handshake in progress
	opening     chan struct{} // one for each connection that its loop has not taken over yet
	max         int           // connections
	maxFile     int           // descriptors of chargers have lower numbers
	maxOffline  int           // chargers that are known and not connected
	noFiles     reminder      // in the log
	offlineFull reminder
	rate        *rate
	timeout     time.Duration // of a whole handshake
	userTimeout time.Duration
	keepAlive   time.Duration
	trimmer     *trimmer
	gate        *gate.Gate
	addresses   *addresses.Table
	from        *addresses.Connections
	header      string   // in which trusted peers name the charger's address; "": none
	passes      *passes  // of TLS handshakes that compute
	crowded     reminder // in the log
	counters    *metrics.Counters

	files credentials.Files
}

// newHandshaker reads the files that the listeners need.
func newHandshaker(c *config.Config, files fileBudget, shards []*shard.Shard, at *gate.Gate, counters *metrics.Counters, log *slog.Logger) (*handshaker, error) {
	read, err := credentials.Read(c)
	if err != nil {
		return nil, err
	}
	h := &handshaker{
		handshake: conn.Handshake{
			Paths:              c.Paths,
			Subprotocols:       c.Subprotocols,
			DefaultSubprotocol: c.DefaultSubprotocol,
			Lenient:            c.Lenient,
			Compression:        c.Compression,
			MaxRequest:         c.MaxRequest,
		},
		authorizer: authorizer{
			clientIdentity: c.TLSClientIdentity,
			passwords:      read.Passwords,
			profiles:       read.Profiles,
			shards:         shards,
			adminSocket:    c.Admin,
			timeout:        c.HandshakeTimeout,
			unknownCharger: c.UnknownCharger(),
		},
		shards:      shards,
		log:         log,
		held:        shards[0].Held,
		slots:       make(chan struct{}, files.handshakes),
		opening:     make(chan struct{}, files.handshakes),
		max:         c.MaxConnections,
		maxFile:     files.chargers,
		maxOffline:  c.MaxOffline,
		noFiles:     reminder{interval: shortageInterval},
		offlineFull: reminder{interval: shortageInterval},
		rate:        newRate(c.HandshakesPerSec),
		timeout:     c.HandshakeTimeout,
		userTimeout: c.IdleTimeout,
		keepAlive:   -1, // the pings do that
		trimmer:     newTrimmer(),
		gate:        at,
		passes:      newPasses(runtime.GOMAXPROCS(0)),
		from:        shards[0].From,
		header:      headerOf(c),
		addresses:   addresses.New(addresses.Limits{Handshakes: c.HandshakesPerAddr, Trusted: c.Trusted}),
		crowded:     reminder{interval: shortageInterval},
		counters:    counters,
		files:       read,
	}
	if c.PingInterval == 0 {
		h.keepAlive = time.Minute
	}
	return h, nil
}

// tickets returns the keys of TLS session tickets; nil without TLS.
func (h *handshaker) tickets() *credentials.Tickets {
	if h.files.Certificates == nil {
		return nil
	}
	return h.files.Certificates.Tickets
}

// certificatesHeld returns the certificates in use; none without TLS.
func (h *handshaker) certificatesHeld() []credentials.Held {
	if h.files.Certificates == nil {
		return nil
	}
	return h.files.Certificates.Held()
}

func (h *handshaker) listen(network, address string) (net.Listener, error) {
	lc := net.ListenConfig{KeepAlive: -1} // see setKeepAlive
	l, err := lc.Listen(context.Background(), network, address)
	if err != nil {
		return nil, fmt.Errorf("charger socket: %w", err)
	}
	return l, nil
}

// run accepts from l until it is closed. While all slots are taken, chargers
// wait in the backlog.
func (h *handshaker) run(l net.Listener, how config.Listener) {
	for {
		h.slots <- struct{}{}
		nc, err := l.Accept()
		if err != nil {
			<-h.slots
			over, again := h.gate.Stopped(err)
			if over {
				return
			}
			if !again {
				if h.noFiles.due(time.Now()) {
					h.log.Error("cannot accept chargers", "err", err)
				}
				time.Sleep(acceptPause)
			}
			continue
		}
		from := addressOf(nc).Addr()
		if !h.addresses.Enter(from) {
			h.turnAway(nc, how)
			<-h.slots
			continue
		}
		h.gate.Enter()
		go func() {
			defer func() {
				h.addresses.Leave(from)
				<-h.slots
				h.gate.Leave()
			}()
			h.letIn(nc, how)
		}()
	}
}

// setKeepAlive sets whether the kernel sends keep-alives. A listener that was
// inherited knows nothing of its ListenConfig, and would turn them on.
func (h *handshaker) setKeepAlive(nc net.Conn) {
	c, ok := nc.(*net.TCPConn)
	if !ok {
		return
	}
	err := c.SetKeepAlive(h.keepAlive > 0)
	if err == nil && h.keepAlive > 0 {
		err = c.SetKeepAlivePeriod(h.keepAlive)
	}
	if err != nil {
		h.log.Warn("connection with the kernel's keep-alives", "remote", nc.RemoteAddr().String(), "err", err)
	}
}

// letIn does the handshake of a charger, TLS and WebSocket with one deadline,
// and passes the connection to its loop.
func (h *handshaker) letIn(nc net.Conn, how config.Listener) {
	began := time.Now()
	h.setKeepAlive(nc)
	who := applicant{from: addressOf(nc), listener: how, deadline: began.Add(h.timeout), file: -1}
	defer h.leave(&who)
	held, state, early, err := h.shakeHands(nc, &who)
	if err != nil {
		_ = nc.Close()
		var refusal *conn.Refusal
		if errors.As(err, &refusal) {
			h.counters.Refused(refusal.Name, refusal.Status)
			h.log.Info("refused", "charger", refusal.Identity, "remote", who.from.String(), "path", refusal.Target, "status", refusal.Status, "code", refusal.Code, "name", refusal.Name, "reason", refusal.Why)
		} else {
			h.counters.Handshake("failed", 0, 0)
			h.log.Info("handshake failed", "remote", who.from.String(), "reason", err.Error())
		}
		return
	}
	defer h.entering.Add(-1)
	h.opening <- struct{}{}
	h.counters.Handshake("opened", http.StatusSwitchingProtocols, time.Since(began))
	fd := who.file
	_ = held.Close()
	if h.userTimeout > 0 {
		if err := conn.SetUserTimeout(fd, h.userTimeout); err != nil {
			h.log.Warn("connection without a time-out of the kernel's", "charger", state.Identity, "err", err)
		}
	}
	h.trimmer.handshake(h.held.Add(1))
	s := h.shards[relay.LoopOf(state.Identity, len(h.shards))]
	s.Loop.Post(func() {
		<-h.opening
		s.Open(fd, state, early, who.note)
	})
}

// shakeHands returns the connection, its state and what the charger sent early.
// Without an error the charger counts as entering.
func (h *handshaker) shakeHands(nc net.Conn, who *applicant) (held net.Conn, state conn.State, early []byte, err error) {
	if err := nc.SetDeadline(who.deadline); err != nil {
		return nil, state, nil, fmt.Errorf("handshake: %w", err)
	}
	if err := h.knock(nc, who); err != nil {
		return nil, state, nil, err
	}
	var tc *record.Conn
	talk := nc
	if who.listener.TLS {
		if tc, err = h.shakeTLS(nc, who); err != nil {
			return nil, state, nil, err
		}
		talk = tc
	}
	handshake, admitted := h.handshake, false
	withdraw := func() {
		if admitted {
			admitted = false
			h.entering.Add(-1)
			h.from.Leave(who.from.Addr())
			h.rate.giveBack()
			who.closeFile()
		}
	}
	handshake.Hear = func(header http.Header) *conn.Refusal { return h.hear(header, who) }
	handshake.Admit = func(identity string) *conn.Refusal {
		refusal := h.admit(identity, who.from.Addr())
		admitted = refusal == nil
		if admitted {
			refusal = h.reserveFile(who, nc, identity)
		}
		return refusal
	}
	handshake.Authorize = func(r conn.Request) *conn.Refusal {
		refusal := h.authorizer.authorize(who, r)
		if refusal != nil {
			withdraw() // whoever is not let in takes no place while it waits to hear so
			if refusal.Status == http.StatusUnauthorized && r.HasBasic {
				h.slow(who.from.Addr(), who.deadline)
			}
		}
		return refusal
	}
	state, early, err = handshake.Serve(talk)
	if err == nil && tc != nil {
		var more []byte
		if _, state.TLS, more, err = tc.Detach(); err != nil {
			err = fmt.Errorf("handshake: %w", err)
		}
		early = append(early[:len(early):len(early)], more...)
		state.Certificate = who.certificate
	}
	if err != nil {
		withdraw()
	}
	if who.from.IsValid() {
		state.Remote = conn.MakeRemote(who.from)
	}
	return nc, state, early, err
}

// shakeTLS does the TLS handshake.
func (h *handshaker) shakeTLS(nc net.Conn, who *applicant) (*record.Conn, error) {
	computing := enterTurnstile(nc, h.passes)
	tc, state, err := record.Server(computing, h.files.Certificates.Config(who.listener.ClientAuth))
	computing.leave()
	switch {
	case errors.Is(err, record.ErrHTTP):
		refusal := conn.RefusalPlainHTTP.Refusal()
		conn.Refuse(nc, refusal)
		return nil, refusal
	case err != nil:
		return nil, err
	}
	who.tls, who.certificate = &state, credentials.CertificateOf(state)
	return tc, nil
}

// admit refuses chargers that are blocked, and those at the limits; one that is let in counts as entering.
// A charger that is held already only takes its own place: after a power cut
// all come back before their dead connections are noticed.
func (h *handshaker) admit(identity string, from netip.Addr) *conn.Refusal {
	if blocks := h.files.Blocks; blocks != nil {
		if block, blocked := blocks.OfCharger(identity); blocked {
			return blockedBy(block)
		}
	}
	if !h.rate.allow(time.Now()) {
		return conn.RefusalRate.Refusal()
	}
	refusal := h.place(identity, from)
	if refusal != nil {
		h.rate.giveBack()
	}
	return refusal
}

// place gives a charger a place among those that may be connected, and known.
func (h *handshaker) place(identity string, from netip.Addr) *conn.Refusal {
	if shard.Offline(h.shards) >= h.maxOffline && !h.knows(identity) {
		if h.offlineFull.due(time.Now()) {
			h.log.Error("as many chargers are known and not connected as -max-offline allows: unknown ones are refused with 503",
				"limit", h.maxOffline, "remedy", "have a processor take what they have left, or raise max-offline")
		}
		return conn.RefusalOffline.Refusal()
	}
	if int(h.entering.Add(1)+h.held.Load()) > h.max && !h.holds(identity) {
		h.entering.Add(-1)
		return conn.RefusalFull.Refusal()
	}
	switch {
	case h.from.EnterIfRoom(from):
	case h.holds(identity):
		h.from.Enter(from)
	default:
		h.entering.Add(-1)
		return conn.RefusalConnections.Refusal()
	}
	return nil
}

// holds asks the loop whether the charger is connected.
func (h *handshaker) holds(identity string) bool {
	return h.ask(identity, func(r *relay.Relay) bool {
		_, held := r.Connected(identity)
		return held
	})
}

// knows asks the loop whether the charger is connected, or has left something.
func (h *handshaker) knows(identity string) bool {
	return h.ask(identity, func(r *relay.Relay) bool { return r.Charger(identity) != nil })
}

func (h *handshaker) ask(identity string, f func(*relay.Relay) bool) bool {
	s := h.shards[relay.LoopOf(identity, len(h.shards))]
	answer := make(chan bool, 1)
	s.Loop.Post(func() { answer <- f(s.Relay) })
	select {
	case yes := <-answer:
		return yes
	case <-time.After(h.timeout):
		return false
	}
}

// reserveFile acquires the file descriptor that the connection has once it is held,
// before the charger hears that it is connected: the handshake's own is closed then.
// It refuses a charger that would take one of the reserve, unless the charger is held
// already, and only takes its own place.
func (h *handshaker) reserveFile(who *applicant, nc net.Conn, identity string) *conn.Refusal {
	fd, err := conn.Duplicate(nc)
	if err == nil {
		who.file = fd
		if fd < h.maxFile || h.holds(identity) {
			return nil
		}
	}
	who.closeFile()
	h.counters.NoFile()
	if h.noFiles.due(time.Now()) {
		h.log.Error("file descriptors run out: chargers are refused with 503 until some have left", "chargers", h.held.Load(),
			"remedy", "LimitNOFILE= of the unit")
	}
	return conn.RefusalFiles.Refusal()
}
