package gate

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// A listener accepts for an http.Server only while the gate is open, and
// counts its connections as under way until they are closed: the old process of
// an upgrade answers what it has accepted before it ends.
type listener struct {
	net.Listener
	gate   *Gate
	closed bool // guarded by gate.mu
}

// Listener puts l under the gate. Connections that the listener accepts are Conns.
func (g *Gate) Listener(l net.Listener) net.Listener {
	g.Guard(l)
	return &listener{Listener: l, gate: g}
}

// Close has Accept return, even from behind a gate that stays shut.
func (l *listener) Close() error {
	l.gate.mu.Lock()
	l.closed = true
	l.gate.mu.Unlock()
	l.gate.open.Broadcast()
	return l.Listener.Close()
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err == nil {
			l.gate.Enter()
			return &Conn{Conn: c, gate: l.gate}, nil
		}
		over, again := l.gate.stoppedOr(err, &l.closed)
		switch {
		case over && l.isClosed(), errors.Is(err, net.ErrClosed):
			return nil, net.ErrClosed
		case over:
			// Nothing else is let in any more, but operators may still ask.
			_ = l.Listener.(deadliner).SetDeadline(time.Time{})
		case !again:
			return nil, err // the server waits if it is worth it
		}
	}
}

func (l *listener) isClosed() bool {
	l.gate.mu.Lock()
	defer l.gate.mu.Unlock()
	return l.closed
}

// A Conn is a connection that a server behind the gate has accepted.
type Conn struct {
	net.Conn
	gate *Gate
	once sync.Once
}

// Passed takes the connection out of what an upgrade waits for.
func (c *Conn) Passed() { c.once.Do(c.gate.Leave) }

// Close closes the connection. An upgrade waits for it no longer.
func (c *Conn) Close() error {
	c.Passed()
	return c.Conn.Close()
}

type connKey struct{}

// ConnOf returns the connection that a request came by; nil if it came by none of
// a server behind a gate.
func ConnOf(r *http.Request) *Conn {
	c, _ := r.Context().Value(connKey{}).(*Conn)
	return c
}

// NewHTTPServer answers one request a connection. Connections that stayed would
// belong to this process for as long as it lives, and questions on them would be
// lost with it in an upgrade; a new one waits in the backlog for whoever serves.
func NewHTTPServer(h http.Handler, log *slog.Logger) *http.Server {
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		WriteTimeout:      WriteTimeout,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		},
	}
	s.SetKeepAlivesEnabled(false)
	return s
}

// WriteTimeout is how long an answer may take to be read. A handler that answers bit
// by bit sets a deadline for each.
const WriteTimeout = 30 * time.Second

// ServeHTTP serves until the server is shut down. It logs any other end.
func ServeHTTP(s *http.Server, l net.Listener, log *slog.Logger) {
	if err := s.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		log.Error("cannot accept operators", "addr", l.Addr().String(), "err", err)
	}
}

// ShutDownHTTP waits a moment for requests in progress.
func ShutDownHTTP(s *http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.Shutdown(ctx)
}
