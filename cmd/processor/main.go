// Command processor is Holdfast's reference processor: a small but true OCPP
// central system. It answers every CALL that a charger may start in OCPP 1.6
// (with its security extension), 2.0.1 and 2.1.
//
//	main.go            flags, joining the gateway, leaving it
//	central.go         one message in, one answer out
//	ocpp.go, fault.go  OCPP-J: messages, CALLERROR and its codes
//	field.go           what a request must hold
//	actions*.go        the answers, a table for each version
//	transactions.go    transaction ids of OCPP 1.6
//	counter.go         the file that they are leased from
//
// It accepts every id token and keeps nothing but transaction ids, so what it
// cannot do (sign certificates, plan charging) it declines in the words that
// OCPP has for that.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"holdfast/proc"
	"holdfast/unixipc"
)

const usage = `usage: processor -socket PATH [flags]

Joins the gateway at its processor socket and answers chargers that speak
OCPP 1.6, 2.0.1 or 2.1. SIGINT or SIGTERM: finishes what it has, then leaves.

`

// options are the command line.
type options struct {
	socket    string
	name      string
	state     string
	interval  time.Duration
	off       []string
	allowed   passwords
	logFormat string
	logLevel  slog.Level
}

func main() {
	opts, err := parseOptions(os.Args[1:], os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintln(os.Stderr, "processor:", err)
		os.Exit(2)
	}
	// The first signal drains; the second one, with the handler gone, kills.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)

	log := opts.logger(os.Stderr)
	if err := run(ctx, opts, log); err != nil {
		log.Error("processor ended", "err", err)
		os.Exit(1)
	}
	log.Info("processor ended")
}

// parseOptions reads the command line; flag.ErrHelp after -h. The help goes to
// w, also when a flag is at fault.
func parseOptions(args []string, w io.Writer) (options, error) {
	var o options
	var off, allowed string
	fs := flag.NewFlagSet("processor", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // faults are returned; flag would print them as well
	fs.Usage = func() {
		fs.SetOutput(w)
		fmt.Fprint(w, usage)
		fs.PrintDefaults()
	}
	fs.StringVar(&o.socket, "socket", "", "the gateway's processor socket, a `path`")
	fs.StringVar(&o.name, "name", "processor", "the `name` to join under; whoever comes back under it gets its chargers back")
	fs.StringVar(&o.state, "state", "", "`directory` of the transaction counter, the same for all processors of a gateway\n(default the directory of the socket; better one that survives a reboot)")
	fs.DurationVar(&o.interval, "interval", 2*time.Minute, "heartbeat `interval` given to chargers, in whole seconds")
	fs.StringVar(&off, "off", "", "`actions` to answer with NotSupported, as Action,Action")
	fs.StringVar(&allowed, "authorize", "", "`file` of the chargers that may connect: lines of an identity, in quotes if it has a space, a space and its password\n(without the flag the processor is not asked)")
	fs.StringVar(&o.logFormat, "log-format", "text", "`format` of the log: text or json")
	fs.TextVar(&o.logLevel, "log-level", slog.LevelInfo, "lowest `level` that is logged: debug, info, warn or error")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if off != "" {
		o.off = strings.Split(off, ",")
	}
	if allowed != "" {
		var err error
		if o.allowed, err = readPasswords(allowed); err != nil {
			return o, fmt.Errorf("-authorize: %w", err)
		}
	}
	if o.state == "" {
		o.state = filepath.Dir(o.socket)
	}
	return o, o.check(fs.Args())
}

func (o options) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q", rest[0])
	case o.socket == "":
		return errors.New("-socket is missing")
	case o.interval < time.Second || o.interval%time.Second != 0:
		return fmt.Errorf("-interval %v: want whole seconds, at least one", o.interval)
	case o.logFormat != "text" && o.logFormat != "json":
		return fmt.Errorf("-log-format %q: want text or json", o.logFormat)
	}
	for _, action := range o.off {
		if !known(action) {
			return fmt.Errorf("-off: %q is no action of OCPP 1.6, 2.0.1 or 2.1", action)
		}
	}
	return nil
}

func (o options) logger(w io.Writer) *slog.Logger {
	ho := &slog.HandlerOptions{Level: o.logLevel}
	if o.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, ho))
	}
	return slog.New(slog.NewTextHandler(w, ho))
}

// run serves until ctx is done and everything that was ours is answered.
func run(ctx context.Context, o options, log *slog.Logger) error {
	ids, err := openTransactions(o.state)
	if err != nil {
		return fmt.Errorf("transaction ids: %w (see -state)", err)
	}
	cs := newCentral(ids, o.interval, o.off, log)
	// Subprotocols stays empty: a charger that names none, or one that is new
	// to us, is served by the shape of its messages instead of waiting for ever.
	cfg := proc.Config{
		Name:   o.name,
		Logger: log,
		Opened: func(_ context.Context, ch *proc.Charger, b unixipc.OpenedBody) {
			cs.opened(ch.Identity(), b.Subprotocol)
		},
		Closed: func(_ context.Context, ch *proc.Charger, _ unixipc.ClosedBody) {
			cs.closed(ch.Identity())
		},
	}
	if o.allowed != nil {
		cfg.Authorize = func(_ context.Context, a unixipc.AuthorizeBody) unixipc.VerdictBody { return o.allowed.verdict(a) }
	}
	return cfg.Run(ctx, o.socket, func(_ context.Context, ch *proc.Charger, m proc.Message) ([]byte, error) {
		return cs.serve(delivery{
			identity: ch.Identity(),
			payload:  m.Payload,
			binary:   m.Binary,
		})
	})
}
