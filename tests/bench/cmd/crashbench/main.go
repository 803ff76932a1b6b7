// Crashbench (make bench-crash) measures what a keeper costs and what it saves: the memory
// of idle chargers, in the gateway and the keeper together, with a keeper and without; and
// what chargers see when the gateway is killed with SIGKILL and started again after the
// pause that the unit makes. What a message costs is relaybench -systems kept,holdfast.
//
//	crashbench -holdfast bin/holdfast -echo bin/echo [-chargers 15000] [-tls]
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"holdfast/tests/bench/load"
	"holdfast/tests/bench/procfs"
	"holdfast/tests/bench/sut"
)

func main() {
	if err := mainErr(); err != nil {
		fmt.Fprintln(os.Stderr, "crashbench:", err)
		os.Exit(1)
	}
}

// bench is what is measured.
type bench struct {
	programs sut.Programs
	chargers int
	rate     int
	kills    int
	pause    time.Duration
}

func mainErr() error {
	var b bench
	flag.StringVar(&b.programs.Holdfast, "holdfast", "bin/holdfast", "`path` of the gateway")
	flag.StringVar(&b.programs.Echo, "echo", "bin/echo", "`path` of cmd/echo")
	flag.BoolVar(&b.programs.TLS, "tls", false, "over wss, TLS 1.3")
	flag.IntVar(&b.chargers, "chargers", 15000, "connections held")
	flag.IntVar(&b.rate, "rate", 2000, "messages per second of all together")
	flag.IntVar(&b.kills, "kills", 5, "how often the gateway is killed")
	flag.DurationVar(&b.pause, "pause", 100*time.Millisecond, "from its end to its start: RestartSec of the unit")
	flag.Parse()
	b.programs.HoldfastArgs = []string{"-ping-interval", "0"}
	fmt.Println(sut.ThisMachine("nginx"))
	without, err := b.idle("holdfast")
	if err != nil {
		return err
	}
	with, err := b.idle("kept")
	if err != nil {
		return err
	}
	silences, lost, err := b.kill()
	if err != nil {
		return err
	}
	aim := 1024
	if b.programs.TLS {
		aim = 1536
	}
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "connections\tidle, each, without a keeper\tand with\tsilence seen, median of the kills\tworst\tlost")
	fmt.Fprintf(out, "%d\t%.0f B\t%.0f B\t%.0f ms\t%.0f ms\t%d\n", b.chargers, without, with, median(silences), slices.Max(silences), lost)
	fmt.Fprintf(out, "aim\t\t≤ %d B\t≤ 500 ms\t\t0\n", aim)
	fmt.Fprintf(out, "the pause until the start, %v, is part of the silence\n", b.pause)
	return out.Flush()
}

func (b bench) connect(s *sut.System) (*load.Fleet, error) {
	return load.Connect(load.Config{
		Addr: s.Addr, Path: "/ocpp/", Prefix: "K-", Subprotocol: "ocpp1.6", Chargers: b.chargers, Sources: 4, TLS: b.programs.TLS,
	})
}

// memory is that of the gateway and the keeper together, bytes.
func memory(s *sut.System) (sum int64, err error) {
	for _, name := range []string{"holdfast", "keeper"} {
		if pid := s.PID(name); pid != 0 {
			m, err := procfs.ReadMemory(pid)
			if err != nil {
				return 0, err
			}
			sum += m.PSS
		}
	}
	return sum, nil
}

// settleTime is how long garbage has to be given back.
const settleTime = 8 * time.Second

// idle returns the bytes of an idle charger.
func (b bench) idle(system string) (each float64, err error) {
	dir, err := os.MkdirTemp("", "crashbench-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	s, err := sut.Start(system, b.programs, 0, dir)
	if err != nil {
		return 0, err
	}
	defer s.Stop()
	time.Sleep(settleTime / 4)
	empty, err := memory(s)
	if err != nil {
		return 0, err
	}
	fleet, err := b.connect(s)
	if err != nil {
		return 0, err
	}
	defer fleet.Abandon()
	if _, err := load.Run(fleet, load.Plan{Mode: load.Idle, Size: 200, Duration: settleTime}); err != nil {
		return 0, err
	}
	held, err := memory(s)
	return float64(held-empty) / float64(b.chargers), err
}

// kill returns the longest answer of each round with a kill, ms.
func (b bench) kill() (silences []float64, lost int, err error) {
	dir, err := os.MkdirTemp("", "crashbench-")
	if err != nil {
		return nil, 0, err
	}
	defer os.RemoveAll(dir)
	s, err := sut.Start("kept", b.programs, 0, dir)
	if err != nil {
		return nil, 0, err
	}
	defer s.Stop()
	fleet, err := b.connect(s)
	if err != nil {
		return nil, 0, err
	}
	defer fleet.Abandon()
	for range b.kills {
		plan := load.Plan{Mode: load.Open, Rate: b.rate, Size: 200, WarmUp: 500 * time.Millisecond, Duration: 3 * time.Second}
		done := make(chan error, 1)
		go func() {
			time.Sleep(plan.WarmUp + time.Second)
			done <- s.Crash(b.pause)
		}()
		r, err := load.Run(fleet, plan)
		if err == nil {
			err = <-done
		}
		if err != nil {
			return nil, 0, err
		}
		fmt.Fprintf(os.Stderr, "%d connections, killed: longest answer %.0f ms, %d errors\n", b.chargers, r.Max/1000, r.Errors)
		silences = append(silences, r.Max/1000)
		lost += r.Errors
		// A gateway that dies five times a minute of nothing that it knows begins empty.
		time.Sleep(20 * time.Second)
	}
	return silences, lost + b.chargers - fleet.Len(), nil
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}
