package proc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Handler answers one message of a charger.
//
// The bytes it returns are the reply, sent with the acknowledgement as the same
// kind of WebSocket message (text or binary) as m. A nil or empty reply
// acknowledges without answering: an acknowledgement cannot carry an empty
// message. Charger.Send can. A reply that could not be written is reported to
// Config.ReplyFailed.
//
// An error gives the delivery back to the gateway (NACK), which delivers it
// again after DefaultRetry, or after the pause that RetryAfter asks for, to
// another processor if there is one. Until then the charger receives nothing
// new, but deliveries that were already on their way here are handled.
//
// ctx outlives the context of Run: it ends when Config.DrainTimeout is over.
//
// A panic is not recovered: the process ends, and the message moves on to
// another processor, which is what the gateway's limit of attempts is for.
type Handler func(ctx context.Context, ch *Charger, m Message) (reply []byte, err error)

// Message is one WebSocket message of a charger.
type Message struct {
	Payload     []byte // the handler's to keep and to change
	Binary      bool   // a binary message; OCPP sends text
	Malformed   bool   // it came as text that is not UTF-8; Binary is false, and the reply is text
	Redelivered bool   // a processor, perhaps this one, may have acted on it before
	Late        bool   // an answer to a CALL that no caller waits for any more
	// Delivery counts up per charger. A message that comes again has another one.
	Delivery uint64

	r  *runner // for Later
	ch *Charger
	d  delivery
}

const (
	// DefaultRetry is the pause before a message comes again whose handler
	// failed without asking for one with RetryAfter.
	DefaultRetry = time.Second
	// DefaultConcurrency is Config.Concurrency when it is zero.
	DefaultConcurrency = 64
	// DefaultDrainTimeout is Config.DrainTimeout when it is zero.
	DefaultDrainTimeout = 30 * time.Second
)

// Config configures a processor. Its zero value is ready to use.
type Config struct {
	// Name, 1 to 64 printable ASCII characters, decides which chargers come
	// here: a processor that returns under its old name gets its chargers back.
	// Default: name of the program, "-", process id.
	Name string
	// Subprotocols that the processor takes, such as "ocpp1.6"; empty: all.
	Subprotocols []string
	// Window is how many deliveries may be unacknowledged on a link at once;
	// 0: the gateway's default.
	Window int
	// ChargerWindow is the same for the deliveries of one charger; 0: the
	// gateway's default. With 1 the gateway sends nothing more of a charger
	// before what it has sent is acknowledged, so that nothing is on its way
	// behind a message that is given back.
	ChargerWindow int
	// Concurrency is how many chargers are worked on at once, over all loops.
	Concurrency int
	// Opened, if set, is called when a charger connects or moves here from
	// another processor, before its first message. It is acknowledged when it
	// returns.
	Opened func(ctx context.Context, ch *Charger, o OpenedBody)
	// TryOpened is Opened for those who may fail. Its error gives the delivery
	// back, as that of a Handler does: it comes again, and until then the charger
	// receives nothing new. At most one of the three may be set.
	TryOpened func(ctx context.Context, ch *Charger, o OpenedBody) error
	// OpenedNote is TryOpened for those who leave a note with the connection, of at
	// most WelcomeBody.MaxNote bytes: OpenedBody.Note and AuthorizeBody.Note show it,
	// here and to later processors, until the charger connects again. One that is
	// empty and not nil removes the note that there is; nil leaves it. A gateway
	// whose MaxNote is 0 (release 0.1) keeps none, and is sent none.
	OpenedNote func(ctx context.Context, ch *Charger, o OpenedBody) (note []byte, err error)
	// Moved, if set, is called when a charger belongs to another processor from now
	// on (lost is nil), and for each charger that was shown here by a link that is
	// lost (ErrLinkLost): another processor may have it. If it comes back, it is shown
	// by Opened, as moved. A gateway of release 0.1 tells of lost links alone.
	Moved func(ctx context.Context, ch *Charger, lost error)
	// GaveBack, if set, is called for each delivery that is given back, instead of
	// logging it: with the pause until it comes again, and the reason.
	GaveBack func(ch *Charger, delivery uint64, pause time.Duration, err error)
	// Closed, if set, is called when the connection of a charger has ended,
	// after its last message. A gateway that has crashed cannot report that: when
	// the SDK finds another instance of it, it calls Closed itself, by "gateway"
	// with code 1006, for each charger that was reported opened here and not
	// closed, before anything new of that charger. From a gateway of
	// release 0.1, these include chargers that had moved to another processor, which
	// reports them closed as well.
	Closed func(ctx context.Context, ch *Charger, c ClosedBody)
	// ReplyFailed, if set, is called when a Handler's reply was not written to
	// the charger, though its message is acknowledged: a *RefusedError (longer
	// than the gateway takes, text that is not UTF-8, or no longer ours to
	// answer), ErrClosed, ErrOffline or ErrFull. delivery is Message.Delivery.
	// It runs as one of the charger's deliveries, behind those that are here.
	// Without it each one is logged. A reply whose link is lost is not reported:
	// its message comes again.
	ReplyFailed func(ctx context.Context, ch *Charger, delivery uint64, err error)
	// Joined, if set, is called with each WELCOME: one for each loop of the
	// gateway, and again when a link was lost. Nothing of that link is delivered
	// until it returns. Warnings are logged without it.
	Joined func(w WelcomeBody)
	// Counters, if set, are counted up.
	Counters *Counters
	// Authorize, if set, decides whether a charger may connect, for gateways
	// with auth=processor. It is called concurrently. It must return within the
	// gateway's -handshake-timeout; ctx is that of handlers.
	Authorize func(ctx context.Context, a AuthorizeBody) VerdictBody
	// DrainTimeout is how long handlers may take to finish once the context of
	// Run has ended. After it their context is cancelled.
	DrainTimeout time.Duration
	// Logger; nil: slog.Default().
	Logger *slog.Logger
}

// Run runs a processor with the default Config.
func Run(ctx context.Context, socket string, h Handler) error {
	return Config{}.Run(ctx, socket, h)
}

// Run joins the gateway that listens on socket, now or later, and handles what
// it delivers until ctx ends. Then it drains: no new deliveries, those that are
// here are finished, and Run returns nil. It returns earlier only with a
// *RefusedError, when the gateway refuses the HELLO (its name, its version);
// trying again would not help. A drain that takes longer than DrainTimeout ends
// with ErrDrainTimeout.
func (c Config) Run(ctx context.Context, socket string, h Handler) error {
	if h == nil {
		return errors.New("proc: Run without a Handler")
	}
	if set := (c.Opened != nil && c.TryOpened != nil) || (c.OpenedNote != nil && (c.Opened != nil || c.TryOpened != nil)); set {
		return errors.New("proc: Run with more than one of Opened, TryOpened and OpenedNote")
	}
	if c.Name == "" {
		c.Name = defaultName(os.Args[0], os.Getpid())
	}
	if c.Concurrency <= 0 {
		c.Concurrency = DefaultConcurrency
	}
	if c.DrainTimeout <= 0 {
		c.DrainTimeout = DefaultDrainTimeout
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	c.Logger = c.Logger.With("processor", c.Name)
	return newRunner(c, socket, h).run(ctx)
}

// defaultName makes the name of a program one that a HELLO may carry.
func defaultName(program string, pid int) string {
	suffix := fmt.Sprintf("-%d", pid)
	base := strings.Map(func(r rune) rune {
		if r < '!' || r > '~' {
			return '_'
		}
		return r
	}, filepath.Base(program))
	return base[:min(len(base), 64-len(suffix))] + suffix
}
