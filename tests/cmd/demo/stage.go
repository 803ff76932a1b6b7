package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"holdfast/tests/harness"
	"holdfast/tests/sim"
	"holdfast/tests/suites"
)

// stage is the running system.
type stage struct {
	holdfast, processor string
	chargers            int
	rate                float64
	quiet               bool
	began               time.Time

	config  string // file of the gateway's configuration
	gateway *harness.Gateway
	a, b    *harness.Process
}

// stopTime is how long the gateway may take to end.
const stopTime = 10 * time.Second

// logLines is how much of the gateway's log a failure shows.
const logLines = 30

func (s *stage) perform(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "holdfast-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	defer func() { err = errors.Join(err, s.strike(err != nil)) }()

	s.config = filepath.Join(dir, "holdfast.conf")
	if err := os.WriteFile(s.config, []byte(configuration), 0o600); err != nil {
		return err
	}
	if s.gateway, err = harness.StartGateway(ctx, harness.Setup{Binary: s.holdfast, Dir: dir, Args: []string{"-config", s.config}}); err != nil {
		return err
	}
	s.say("gateway: process %d on %s for ws and %s for wss", s.gateway.Pid(), s.gateway.Addr, s.gateway.AddrTLS)
	if s.a, err = s.join(ctx, "A"); err != nil {
		return err
	}
	if s.b, err = s.join(ctx, "B"); err != nil {
		return err
	}
	report, err := s.simulate(ctx)
	if err != nil {
		return err
	}
	fmt.Println()
	if err := report.WriteTable(os.Stdout); err != nil {
		return err
	}
	if err := report.Err(); err != nil {
		return fmt.Errorf("the chargers noticed: %w", err)
	}
	fmt.Printf("\n%d dropped, %d lost, %d duplicate answers, %d out of order. The chargers noticed nothing.\n",
		report.Dropped, report.Lost, report.Duplicated, report.OutOfOrder)
	return nil
}

// simulate plays the steps under the load of all chargers.
func (s *stage) simulate(ctx context.Context) (sim.Report, error) {
	load, stop := context.WithCancel(ctx)
	defer stop()
	config := sim.Config{
		URLs: s.gateway.URLs(), Chargers: s.chargers, Rate: s.rate, Prefix: "DEMO-",
		Subprotocols: []string{"ocpp1.6", "ocpp2.0.1"}, ProgressEvery: 2 * time.Second,
		TLS: s.gateway.TLS.Client(), Suites: suites.All,
	}
	if !s.quiet {
		config.Progress = os.Stdout
	}
	s.say("%d chargers connect, half over ws and half over wss (TLS 1.2 and 1.3, %d suites), half OCPP 1.6 and half 2.0.1, and send %.0f messages a second",
		s.chargers, len(suites.All), s.rate)
	simulation, err := sim.Start(load, config)
	if err != nil {
		return sim.Report{}, err
	}
	err = simulation.AllOpen(ctx)
	if err == nil {
		pss, _ := harness.PSS(s.gateway.Pid()) // for show only
		s.say("all connected; the gateway takes %.1f MiB", float64(pss)/(1<<20))
		err = s.play(ctx)
	}
	stop()
	report := simulation.Wait()
	if err != nil {
		return report, errors.Join(err, report.Err())
	}
	return report, nil
}

func (s *stage) join(ctx context.Context, name string) (*harness.Process, error) {
	p, err := harness.StartProcessor(ctx, s.processor, s.gateway.Processors, name)
	if err != nil {
		return nil, err
	}
	s.say("processor %s: process %d has joined", name, p.Pid())
	return p, nil
}

// strike ends everything that was started.
func (s *stage) strike(failed bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	var errs []error
	for _, p := range []*harness.Process{s.a, s.b} {
		if p != nil {
			errs = append(errs, p.Kill())
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
