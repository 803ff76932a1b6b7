package proc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"holdfast/unixipc"
)

// ClientConfig configures a Client. Either Socket or Dial is required.
type ClientConfig struct {
	// Name, 1 to 64 printable ASCII characters, is what the gateway's log calls
	// this client. Default: name of the program, "-", process id.
	Name string
	// Socket is the path of the gateway's socket for processors.
	Socket string
	// Dial, if set, is used instead of Socket: once for each loop of the gateway.
	Dial func(context.Context) (net.Conn, error)
	// Logger; nil: slog.Default().
	Logger *slog.Logger
}

// Client sends orders to chargers and receives no deliveries: what a web API or
// a command needs. Its methods may be called concurrently.
//
// A Client reconnects until it is closed. While it has no link, orders fail with
// ErrNoLink. An upgrade of the gateway does not interrupt a link.
type Client struct {
	r    *runner
	stop context.CancelFunc
	done chan error

	mu    sync.Mutex
	links map[int]*link // by loop; those that have ended are still there
	feeds map[*feed]bool
	ready chan struct{} // closed when there is a link to each loop
}

// closeTimeout is how long Close waits for the gateway.
const closeTimeout = 2 * time.Second

// Dial joins a gateway. It fails if that does not work at the first attempt.
func Dial(ctx context.Context, c ClientConfig) (*Client, error) {
	if c.Name == "" {
		c.Name = defaultName(os.Args[0], os.Getpid())
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	cfg := Config{Name: c.Name, Concurrency: 1, DrainTimeout: closeTimeout, Logger: c.Logger.With("client", c.Name)}
	cl := &Client{
		r: newRunner(cfg, c.Socket, nil), done: make(chan error, 1),
		links: map[int]*link{}, feeds: map[*feed]bool{}, ready: make(chan struct{}),
	}
	failed := make(chan error, 1)
	cl.r.askOnly = true
	cl.r.joined = cl.joined
	cl.r.failed = func(err error) {
		select {
		case failed <- err:
		default:
		}
	}
	if c.Dial != nil {
		cl.r.dial = c.Dial
	}
	var run context.Context
	run, cl.stop = context.WithCancel(context.Background())
	go func() { cl.done <- cl.r.run(run) }()
	var err error
	select {
	case <-cl.ready:
		return cl, nil
	case err = <-cl.done:
		cl.done <- err
		if err == nil {
			err = errors.New("the link ended")
		}
	case err = <-failed:
	case <-ctx.Done():
		err = ctx.Err()
	}
	_ = cl.Close()
	return nil, fmt.Errorf("join the gateway: %w", err)
}

// Close leaves the gateway. Orders that wait for an outcome get ErrLinkLost.
func (c *Client) Close() error {
	c.stop()
	err := <-c.done
	c.done <- err
	return err
}

// joined is called with each link when it is up.
func (c *Client) joined(lp *loop, l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.links[lp.index] = l
	for fd := range c.feeds {
		fd.open(lp.index, l)
	}
	c.r.mu.Lock()
	count := c.r.count
	c.r.mu.Unlock()
	select {
	case <-c.ready:
	default:
		if len(c.links) == count {
			close(c.ready)
		}
	}
}

// any returns a link that is up, or nil. Every link reaches every charger.
func (c *Client) any() *link {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.links {
		if !l.ended() {
			return l
		}
	}
	return nil
}

func (c *Client) order(ctx context.Context, what unixipc.Type, flags unixipc.Flags, identity string, payload []byte) ([]byte, error) {
	l := c.any()
	if l == nil {
		return nil, ErrNoLink
	}
	return l.order(ctx, what, flags, identity, payload)
}

// Call sends an OCPP CALL to a charger; see Charger.Call.
func (c *Client) Call(ctx context.Context, identity, action string, payload json.RawMessage) (json.RawMessage, error) {
	return call(ctx, identity, action, payload, func(ctx context.Context, what unixipc.Type, flags unixipc.Flags, payload []byte) ([]byte, error) {
		return c.order(ctx, what, flags, identity, payload)
	})
}

// Send writes a text message to a charger; see Charger.Send.
func (c *Client) Send(ctx context.Context, identity string, message []byte) error {
	if _, err := c.order(ctx, unixipc.Send, 0, identity, message); err != nil {
		return fmt.Errorf("send to %s: %w", identity, err)
	}
	return nil
}

// Disconnect closes a charger's connection; see Charger.Close.
func (c *Client) Disconnect(ctx context.Context, identity string, code int, reason string) error {
	return c.close(ctx, identity, unixipc.CloseBody{Code: code, Reason: reason})
}

// Drop ends a charger's connection without a Close frame; see Charger.Drop.
func (c *Client) Drop(ctx context.Context, identity, reason string) error {
	return c.close(ctx, identity, unixipc.CloseBody{Reason: reason, Drop: true})
}

func (c *Client) close(ctx context.Context, identity string, order unixipc.CloseBody) error {
	body, err := json.Marshal(order)
	if err == nil {
		_, err = c.order(ctx, unixipc.Close, 0, identity, body)
	}
	if err != nil {
		return fmt.Errorf("close %s: %w", identity, err)
	}
	return nil
}
