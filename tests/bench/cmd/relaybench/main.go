// Relaybench (make bench-relay) measures Holdfast with a processor against
// nginx with the same echo behind it, and against a bare echo. The systems are
// on CPU 0, all of their processes; the load is on CPU 1. They take turns:
// each round does each scenario with each system.
//
//	relaybench -holdfast bin/holdfast
//	relaybench -systems nginx,bare -rounds 1 -duration 1s
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"holdfast/tests/bench/sut"
)

// systemCore and loadCore are the CPUs of the system and of the load.
const (
	systemCore = 0
	loadCore   = 1
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := mainErr(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "relaybench:", err)
		os.Exit(1)
	}
}

func mainErr(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	beside := filepath.Dir(self)
	var programs sut.Programs
	flag.StringVar(&programs.Holdfast, "holdfast", filepath.Join(beside, "holdfast"), "`path` of the gateway")
	flag.StringVar(&programs.Echo, "echo", filepath.Join(beside, "echo"), "`path` of cmd/echo")
	flag.StringVar(&programs.Nginx, "nginx", "nginx", "`path` of nginx")
	args := flag.String("holdfast-args", "", "more `flags` for holdfast serve, space-separated")
	loader := flag.String("load", filepath.Join(beside, "load"), "`path` of cmd/load")
	flag.StringVar(&programs.Bridge, "bridge", "", "`path` of holdfast-bridge: each system is before a central system, Holdfast by way of the bridge")
	flag.BoolVar(&programs.TLS, "tls", false, "over wss, TLS 1.3, all systems; the bare echo has none")
	names := flag.String("systems", "holdfast,nginx,bare", "what to measure, of "+strings.Join(sut.Names, ","))
	only := flag.String("scenarios", "", "only these, of "+strings.Join(scenarioNames(), ","))
	rounds := flag.Int("rounds", 3, "how often each scenario is done; the table has medians")
	duration := flag.Duration("duration", 3*time.Second, "measured in each")
	jsonPath := flag.String("json", "", "write everything measured to this `file`")
	flag.Parse()
	// The other systems send no pings; what they cost is for holdbench to say.
	programs.HoldfastArgs = append([]string{"-ping-interval", "0"}, strings.Fields(*args)...)
	if programs.TLS || programs.Bridge != "" {
		*names = strings.TrimSuffix(*names, ",bare")
	}
	chosen, err := chooseScenarios(*only)
	if err != nil {
		return err
	}

	dir, err := os.MkdirTemp("", "relaybench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	report := Report{Machine: sut.ThisMachine(programs.Nginx)}
	var systems []*sut.System
	for name := range strings.SplitSeq(*names, ",") {
		s, err := sut.Start(name, programs, systemCore, dir)
		if err != nil {
			return err
		}
		defer s.Stop()
		systems = append(systems, s)
		report.Systems = append(report.Systems, name)
	}
	b := bench{loader: *loader, duration: *duration, tls: programs.TLS, answers: programs.Bridge != ""}
	if b.answers {
		aimRate.text, aimRate.atLeast = "≥ nginx", 1
	}
	for round := range *rounds {
		for _, sc := range chosen {
			// Another system comes first in each round.
			for i := range systems {
				s := systems[(i+round)%len(systems)]
				fmt.Fprintf(os.Stderr, "round %d of %d: %s, %s\n", round+1, *rounds, sc.title, s.Name)
				result, err := b.run(ctx, sc, s)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", sc.title, s.Name, err)
				}
				report.Runs = append(report.Runs, Run{Round: round + 1, Scenario: sc.name, System: s.Name, Result: result})
			}
		}
	}
	for _, s := range systems {
		if err := s.Alive(); err != nil {
			return err
		}
	}
	report.print(os.Stdout, chosen)
	if *jsonPath != "" {
		out, err := json.MarshalIndent(report, "", "\t")
		if err != nil {
			return err
		}
		if err := os.WriteFile(*jsonPath, append(out, '\n'), 0o644); err != nil {
			return err
		}
	}
	return report.err()
}
