// Package load is a fleet of WebSocket chargers in one epoll loop, and the runs
// that cmd/load and the benchmarks do with it.
//
// It is not tests/sim, which exists to notice faults: there each charger has a goroutine
// and a mutex, lives an OCPP life, and accounts for every CALL. Here one core must ask as
// fast as a gateway on another core can answer. So all chargers send one message that is
// masked once, answers are compared and not parsed, and one loop owns everything.
// A black-box test uses tests/sim, by way of harness.World.Load.
package load

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/tests/bench/epoll"
	"holdfast/tests/bench/ws"
)

// Config of a fleet.
type Config struct {
	Addr        string // host:port, IPv4
	Path        string // prefix of the request's path; the identity follows
	Prefix      string // of each identity; the charger's number follows
	Subprotocol string
	Chargers    int
	Sources     int // spread over so many addresses 127.0.0.2…; 0: the system chooses
	Dialers     int // handshakes at once; 0: 32
	TLS         bool
}

// Fleet holds the connections. One goroutine at a time may use it.
type Fleet struct {
	poller   *epoll.Poller
	chargers []*charger
	byFD     []*charger
	alive    int
	buf      []byte
	plain    []byte // opened records
	sealed   []byte // a record on its way
	errors   int
	first    error
	closing  bool

	onText func(c *charger, payload []byte)
	pings  atomic.Int64
}

// charger is one connection.
type charger struct {
	fd       int
	number   uint32
	tls      *session        // nil: ws
	part     []byte          // of a frame that is not complete
	sent     uint32          // messages, each with an id counting up
	answered uint32          // of these, in order
	due      []time.Duration // when each message in flight was sent or due, since the run's start
}

// Connect opens all connections or none.
func Connect(cfg Config) (*Fleet, error) {
	server, err := netip.ParseAddrPort(cfg.Addr)
	if err != nil || !server.Addr().Is4() {
		return nil, fmt.Errorf("server's address %q: want IPv4:port", cfg.Addr)
	}
	f := &Fleet{chargers: make([]*charger, cfg.Chargers), buf: make([]byte, 256<<10)}
	if err := f.dialAll(cfg, server); err != nil {
		f.Abandon()
		return nil, err
	}
	if f.poller, err = epoll.Open(); err != nil {
		f.Abandon()
		return nil, err
	}
	for _, c := range f.chargers {
		for len(f.byFD) <= c.fd {
			f.byFD = append(f.byFD, nil)
		}
		f.byFD[c.fd] = c
		if err := f.poller.Add(c.fd); err != nil {
			f.Abandon()
			return nil, err
		}
	}
	f.alive = len(f.chargers)
	return f, nil
}

func (f *Fleet) dialAll(cfg Config, server netip.AddrPort) error {
	if cfg.Dialers == 0 {
		cfg.Dialers = 32
	}
	var next atomic.Int64
	var wait sync.WaitGroup
	errs := make([]error, cfg.Dialers)
	for d := range cfg.Dialers {
		wait.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= cfg.Chargers {
					return
				}
				var source netip.Addr
				if cfg.Sources > 0 {
					source = netip.AddrFrom4([4]byte{127, 0, 0, byte(2 + i%cfg.Sources)})
				}
				fd, session, rest, err := dial(server, source, fmt.Sprintf("%s%s%d", cfg.Path, cfg.Prefix, i), cfg.Subprotocol, cfg.TLS)
				if err != nil {
					errs[d] = fmt.Errorf("charger %d of %d: %w", i, cfg.Chargers, err)
					next.Store(int64(cfg.Chargers))
					return
				}
				f.chargers[i] = &charger{fd: fd, number: uint32(i), tls: session, part: rest}
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

// Len is the number of connections that are open.
func (f *Fleet) Len() int { return f.alive }

// Pings is how many pings were answered; callable from any goroutine.
func (f *Fleet) Pings() int64 { return f.pings.Load() }

// Err is the first fault of a connection or an answer, nil if there was none.
func (f *Fleet) Err() error { return f.first }

func (f *Fleet) fault(err error) {
	if f.first == nil {
		f.first = err
	}
	f.errors++
}

// turn waits for events and serves them. Events of the descriptor other are
// for onOther.
func (f *Fleet) turn(other int, onOther func()) error {
	events, err := f.poller.Wait()
	if err != nil {
		return err
	}
	for i := range events {
		fd := int(events[i].Fd)
		if fd == other {
			onOther()
		} else if c := f.byFD[fd]; c != nil {
			f.read(c)
		}
	}
	return nil
}

func (f *Fleet) read(c *charger) {
	n, err := epoll.Read(c.fd, f.buf)
	switch {
	case err == unix.EAGAIN:
		return
	case err != nil:
		f.lose(c, fmt.Errorf("charger %d: read: %w", c.number, err))
		return
	case n == 0:
		f.lose(c, fmt.Errorf("charger %d: closed without a Close frame", c.number))
		return
	}
	b := f.buf[:n]
	if c.tls != nil {
		if b, err = c.tls.open(f.plain[:0], b); err != nil {
			f.lose(c, fmt.Errorf("charger %d: %w", c.number, err))
			return
		}
		f.plain = b
	}
	if len(c.part) > 0 {
		c.part = append(c.part, b...)
		b = c.part
	}
	for len(b) > 0 {
		frame, n, err := ws.Parse(b)
		if err != nil {
			f.lose(c, fmt.Errorf("charger %d: %w", c.number, err))
			return
		}
		if n == 0 {
			break
		}
		b = b[n:]
		if !f.take(c, frame) {
			return
		}
	}
	c.part = append(c.part[:0], b...)
}

// take handles one frame and reports whether the connection is still open.
func (f *Fleet) take(c *charger, frame ws.Frame) bool {
	switch frame.Op {
	case ws.Text:
		if f.onText != nil {
			f.onText(c, frame.Payload)
		}
	case ws.Ping:
		f.pings.Add(1)
		f.send(c, ws.AppendMasked(nil, ws.Pong, maskKey, frame.Payload))
	case ws.Close:
		code := uint16(0)
		if len(frame.Payload) >= 2 {
			code = binary.BigEndian.Uint16(frame.Payload)
		}
		f.lose(c, fmt.Errorf("charger %d: closed by the server with %d %q", c.number, code,
			strings.ToValidUTF8(string(frame.Payload[min(2, len(frame.Payload)):]), "?")))
	}
	return f.byFD[c.fd] == c
}

// send writes the whole of b; what does not fit at once is a fault here.
func (f *Fleet) send(c *charger, b []byte) {
	if c.tls != nil {
		f.sealed = c.tls.seal(f.sealed[:0], b)
		b = f.sealed
	}
	if n, err := epoll.Write(c.fd, b); err != nil || n < len(b) {
		f.lose(c, fmt.Errorf("charger %d: wrote %d of %d bytes: %v", c.number, n, len(b), err))
	}
}

// lose closes a connection; why is a fault unless all are being closed.
func (f *Fleet) lose(c *charger, why error) {
	if f.byFD[c.fd] != c {
		return
	}
	if !f.closing {
		f.fault(why)
	}
	_ = f.poller.Remove(c.fd)
	f.byFD[c.fd] = nil
	unix.Close(c.fd)
	f.alive--
}

// Close ends each connection with a Close frame and waits for the servers'
// answers, a second at most.
func (f *Fleet) Close() error {
	tick, err := epoll.Ticker(10 * time.Millisecond)
	if err != nil {
		return err
	}
	defer unix.Close(tick)
	if err := f.poller.Add(tick); err != nil {
		return err
	}
	f.closing = true
	bye := ws.AppendMasked(nil, ws.Close, maskKey, []byte{1000 >> 8, 1000 & 0xff})
	for _, c := range f.chargers {
		if f.byFD[c.fd] == c {
			f.send(c, bye)
		}
	}
	for deadline := time.Now().Add(time.Second); f.alive > 0 && time.Now().Before(deadline); {
		if err := f.turn(tick, func() { epoll.Ticks(tick) }); err != nil {
			return err
		}
	}
	f.Abandon()
	return nil
}

// Abandon closes the sockets without a word.
func (f *Fleet) Abandon() {
	for _, c := range f.chargers {
		if c != nil && (f.poller == nil || len(f.byFD) > c.fd && f.byFD[c.fd] == c) {
			unix.Close(c.fd)
		}
	}
	if f.poller != nil {
		_ = f.poller.Close()
	}
}
