// Sim simulates chargers against a gateway and says what went wrong: see package
// holdfast/tests/sim. It exits with 1 if anything did that -allow does not name.
//
//	sim -url ws://127.0.0.1:8080/ocpp -n 2000 -rate 2000 -duration 1m
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"holdfast/tests/sim"
)

func main() {
	report, allowed, err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "sim:", err)
		os.Exit(2)
	}
	if err := report.Err(allowed...); err != nil {
		fmt.Fprintln(os.Stderr, "sim:", err)
		os.Exit(1)
	}
}

func run() (report sim.Report, allowed []string, err error) {
	var (
		urls         = flag.String("url", "ws://127.0.0.1:8080/ocpp", "URLs of gateways without the identity, comma-separated")
		n            = flag.Int("n", 100, "chargers")
		rate         = flag.Float64("rate", 100, "CALLs of all chargers together, per second")
		duration     = flag.Duration("duration", 0, "how long after the last charger connected; 0: until interrupted")
		ramp         = flag.Float64("ramp", 1000, "connections opened per second")
		deadline     = flag.Duration("deadline", 30*time.Second, "a CALL unanswered for longer is lost")
		outstanding  = flag.Int("outstanding", 1, "CALLs a charger may have unanswered; OCPP-J allows 1")
		subprotocols = flag.String("subprotocols", "ocpp1.6,ocpp2.0.1", "one for each charger in turn")
		prefix       = flag.String("prefix", "SIM-", "what identities start with")
		idle         = flag.Bool("idle", false, "send nothing, only hold the connections")
		ping         = flag.Duration("ping", 0, "interval of WebSocket pings of each charger; 0: none")
		sources      = flag.Int("sources", 0, "source addresses from 127.0.0.1 up; 0: one per 10,000 chargers on loopback")
		overTLS      = flag.Bool("tls", false, "turn ws:// URLs into wss://")
		insecure     = flag.Bool("insecure", false, "wss: take any certificate")
		jsonFile     = flag.String("json", "", "write the report to this file")
		allow        = flag.String("allow", "", "what may happen: "+strings.Join(sim.FaultNames(), ", "))
	)
	flag.Parse()
	if flag.NArg() > 0 {
		return report, nil, fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}
	if allowed, err = names(*allow); err != nil {
		return report, nil, err
	}
	config := sim.Config{
		URLs: strings.Split(*urls, ","), Chargers: *n, Prefix: *prefix, Subprotocols: strings.Split(*subprotocols, ","),
		Rate: *rate, Outstanding: *outstanding, Duration: *duration, Ramp: *ramp, Deadline: *deadline,
		Ping: *ping, Sources: *sources, Progress: os.Stderr, ProgressLive: terminal(os.Stderr),
	}
	if *idle {
		config.Rate = 0
	}
	if *overTLS {
		for i, u := range config.URLs {
			if rest, ok := strings.CutPrefix(u, "ws://"); ok {
				config.URLs[i] = "wss://" + rest
			}
		}
	}
	if *insecure {
		config.TLS = &tls.Config{InsecureSkipVerify: true}
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	if report, err = sim.Run(ctx, config); err != nil {
		return report, nil, err
	}
	if *jsonFile != "" {
		b, err := json.MarshalIndent(report, "", "  ")
		if err != nil {
			return report, nil, err
		}
		if err := os.WriteFile(*jsonFile, append(b, '\n'), 0o644); err != nil {
			return report, nil, err
		}
	}
	return report, allowed, report.WriteTable(os.Stdout)
}

func names(list string) ([]string, error) {
	if list == "" {
		return nil, nil
	}
	allowed := strings.Split(list, ",")
	for _, name := range allowed {
		if !slices.Contains(sim.FaultNames(), name) {
			return nil, fmt.Errorf("-allow %s: not one of %s", name, strings.Join(sim.FaultNames(), ", "))
		}
	}
	return allowed, nil
}

func terminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
