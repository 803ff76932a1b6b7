package main

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

	"holdfast/conn"
	"holdfast/relay"

	"golang.org/x/sys/unix"
)

// acceptPause is how long accepting rests after an error, such as no file
// descriptor being left.
const acceptPause = 100 * time.Millisecond

// A door lets chargers in: it accepts, has the handshake done on a bounded
// number of goroutines, and passes the connection to its loop.
type door struct {
	handshake   conn.Handshake
	worlds      []*world
	log         *slog.Logger
	held        *atomic.Int64
	entering    atomic.Int64  // admitted, and not held yet
	slots       chan struct{} // one for each handshake in progress
	max         int
	rate        *rate
	userTimeout time.Duration
	keepAlive   time.Duration
	tidy        *tidy
	gate        *gate
	tally       *tally
}

func newDoor(c *config, worlds []*world, g *gate, n *tally, log *slog.Logger) *door {
	d := &door{
		worlds:      worlds,
		log:         log,
		held:        worlds[0].held,
		slots:       make(chan struct{}, c.handshakes),
		max:         c.maxConnections,
		rate:        newRate(c.handshakesPerSec),
		userTimeout: c.idleTimeout,
		keepAlive:   -1, // the pings do that
		tidy:        newTidy(),
		gate:        g,
		tally:       n,
	}
	if c.pingInterval == 0 {
		d.keepAlive = time.Minute
	}
	d.handshake = conn.Handshake{
		Paths:              c.paths,
		Subprotocols:       c.subprotocols,
		DefaultSubprotocol: c.defaultSubprotocol,
		Lenient:            c.lenient,
		Compression:        c.compression,
		Timeout:            c.handshakeTimeout,
	}
	return d
}

func (d *door) listen(network, address string) (net.Listener, error) {
	lc := net.ListenConfig{KeepAlive: d.keepAlive}
	l, err := lc.Listen(context.Background(), network, address)
	if err != nil {
		return nil, fmt.Errorf("charger socket: %w", err)
	}
	return l, nil
}

// run accepts from l until it is closed. While all slots are taken, chargers
// wait in the backlog.
func (d *door) run(l net.Listener) {
	for {
		d.slots <- struct{}{}
		nc, err := l.Accept()
		if err != nil {
			<-d.slots
			over, again := d.gate.stopped(err)
			if over {
				return
			}
			if !again {
				d.log.Error("cannot accept chargers", "err", err)
				time.Sleep(acceptPause)
			}
			continue
		}
		d.gate.enter()
		go func() {
			defer func() {
				<-d.slots
				d.gate.leave()
			}()
			d.letIn(nc)
		}()
	}
}

func (d *door) letIn(nc net.Conn) {
	remote := nc.RemoteAddr().String()
	h, admitted := d.handshake, false
	h.Admit = func() *conn.Refusal {
		refusal := d.admit()
		admitted = refusal == nil
		return refusal
	}
	defer func() {
		if admitted {
			d.entering.Add(-1)
		}
	}()
	began := time.Now()
	s, early, err := h.Serve(nc)
	if err != nil {
		_ = nc.Close()
		var refusal *conn.Refusal
		if errors.As(err, &refusal) {
			d.tally.handshake("refused", refusal.Status, 0)
			d.log.Info("refused", "charger", refusal.Identity, "remote", remote, "status", refusal.Status, "code", refusal.Code, "reason", refusal.Why)
		} else {
			d.tally.handshake("failed", 0, 0)
			d.log.Info("handshake failed", "remote", remote, "reason", err.Error())
		}
		return
	}
	d.tally.handshake("opened", http.StatusSwitchingProtocols, time.Since(began))
	fd, err := conn.Take(nc)
	if err != nil {
		d.log.Error("connection lost", "charger", s.Identity, "remote", remote, "err", err)
		return
	}
	if d.userTimeout > 0 {
		if err := conn.SetUserTimeout(fd, d.userTimeout); err != nil {
			d.log.Warn("connection without a time-out of the kernel's", "charger", s.Identity, "err", err)
		}
	}
	d.tidy.handshake(d.held.Add(1))
	w := d.worlds[relay.LoopOf(s.Identity, len(d.worlds))]
	w.loop.Post(func() { w.open(fd, s, early) })
}

// admit refuses chargers at the limits; one that is let in counts as entering.
func (d *door) admit() *conn.Refusal {
	if !d.rate.allow(time.Now()) {
		return &conn.Refusal{Status: http.StatusTooManyRequests, Why: "too many handshakes per second", RetryAfter: 5}
	}
	if int(d.entering.Add(1)+d.held.Load()) > d.max {
		d.entering.Add(-1)
		return &conn.Refusal{Status: http.StatusServiceUnavailable, Why: "all connections are taken", RetryAfter: 60}
	}
	return nil
}

func closeFd(fd int) error {
	_ = unix.Shutdown(fd, unix.SHUT_RDWR)
	return unix.Close(fd)
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
