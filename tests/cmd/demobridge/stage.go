package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"holdfast/tests/harness"
	"holdfast/tests/sim"
	"holdfast/tests/suites"
)

// stage is the running system.
type stage struct {
	holdfast, bridge, central string
	chargers                  int
	rate, calls               float64
	quiet                     bool
	began                     time.Time

	dir     string
	gateway *harness.Gateway
	b       *harness.Process // the bridge
	main    system           // the central system that is killed
	second  system           // and the one that some chargers get
}

// system is a central system.
type system struct {
	*harness.Process
	address, ledger string
}

const (
	stopTime = 10 * time.Second // that the gateway may take to end
	logLines = 30               // of logs, that a failure shows
)

func (s *stage) perform(ctx context.Context) (err error) {
	if s.dir, err = os.MkdirTemp("", "holdfast-demo-"); err != nil {
		return err
	}
	defer os.RemoveAll(s.dir)
	defer func() { err = errors.Join(err, s.strike(err != nil)) }()
	if s.gateway, err = harness.StartGateway(ctx, harness.Setup{Binary: s.holdfast, Dir: s.dir}); err != nil {
		return err
	}
	s.say("gateway: process %d on %s for ws and %s for wss", s.gateway.Pid(), s.gateway.Addr, s.gateway.AddrTLS)
	for i, cs := range []*system{&s.main, &s.second} {
		cs.ledger = filepath.Join(s.dir, fmt.Sprint("central-", i))
		cs.address = fmt.Sprintf("127.0.0.%d:0", 10+i)
		if err := s.start(ctx, cs); err != nil {
			return err
		}
		s.say("central system %d: process %d on %s", i+1, cs.Pid(), cs.address)
	}
	if err := s.routes("* ws://" + s.main.address + "/{identity}"); err != nil {
		return err
	}
	if err := s.startBridge(ctx); err != nil {
		return err
	}
	report, err := s.simulate(ctx)
	if err != nil {
		return err
	}
	fmt.Println("\nwhat the chargers saw")
	if err := report.WriteTable(os.Stdout); err != nil {
		return err
	}
	seen, err := s.seen(report.Sent)
	if err != nil {
		return err
	}
	if err := report.Err(); err != nil {
		return fmt.Errorf("the chargers noticed: %w", err)
	}
	fmt.Printf("\n%d dropped, %d lost, %d duplicate answers, %d out of order. The chargers noticed nothing; %d CALLs reached a central system twice.\n",
		report.Dropped, report.Lost, report.Duplicated, report.OutOfOrder, seen.repeated)
	return nil
}

// start runs a central system, at its address.
func (s *stage) start(ctx context.Context, cs *system) (err error) {
	cs.Process, err = harness.Start("central", s.central, "-listen", cs.address, "-ledger", cs.ledger, "-calls", fmt.Sprint(s.calls))
	if err != nil {
		return err
	}
	line, err := cs.WaitLog(ctx, "that it is ready", func(l harness.Line) bool { return strings.HasPrefix(l.Text, "ready ") })
	cs.address = strings.TrimPrefix(line.Text, "ready ")
	return err
}

func (s *stage) config() string { return filepath.Join(s.dir, "bridge.conf") }

func (s *stage) routes(routes ...string) error {
	text := "socket " + s.gateway.Processors + "\nlog-format json\n"
	for _, r := range routes {
		text += "route " + r + "\n"
	}
	return os.WriteFile(s.config(), []byte(text), 0o600)
}

func (s *stage) startBridge(ctx context.Context) (err error) {
	if s.b, err = harness.Start("holdfast-bridge", s.bridge, "-config", s.config(), "-dial-rate", "500"); err != nil {
		return err
	}
	_, err = s.b.WaitLog(ctx, "that it joined", func(l harness.Line) bool { return l.Msg() == "joined" })
	return err
}

// simulate plays the steps under the load of all chargers.
func (s *stage) simulate(ctx context.Context) (sim.Report, error) {
	load, stop := context.WithCancel(ctx)
	defer stop()
	config := sim.Config{
		URLs: s.gateway.URLs(), Chargers: s.chargers, Rate: s.rate, Prefix: "DEMO-", ProgressEvery: 5 * time.Second,
		TLS: s.gateway.TLS.Client(), Suites: suites.All,
	}
	if !s.quiet {
		config.Progress = os.Stdout
	}
	s.say("%d chargers connect, half over ws and half over wss, half OCPP 1.6 and half 2.0.1, and send %.0f messages a second; the central systems make %.0f CALLs a second",
		s.chargers, s.rate, s.calls)
	simulation, err := sim.Start(load, config)
	if err != nil {
		return sim.Report{}, err
	}
	if err = simulation.AllOpen(ctx); err == nil {
		err = s.play(ctx)
	}
	stop()
	report := simulation.Wait()
	if err != nil {
		return report, errors.Join(err, report.Err())
	}
	return report, nil
}

// strike ends everything that was started.
func (s *stage) strike(failed bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	var errs []error
	for _, p := range []*harness.Process{s.b, s.main.Process, s.second.Process} {
		if p != nil {
			errs = append(errs, p.Kill())
			if failed {
				fmt.Fprintf(os.Stderr, "the end of the log of %s:\n%s", p.Name, p.Log.Tail(logLines))
			}
		}
	}
	if s.gateway != nil {
		errs = append(errs, s.gateway.Stop(ctx))
		if failed {
			fmt.Fprintf(os.Stderr, "the end of the gateway's log:\n%s", s.gateway.Log.Tail(logLines))
		}
	}
	return errors.Join(errs...)
}

func (s *stage) say(format string, args ...any) {
	fmt.Printf("%5.1fs  %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}
