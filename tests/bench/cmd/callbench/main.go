// Callbench (make bench-call) measures the round trip of a CALL: from a program
// with the package proc through Holdfast to a charger and back, beside the same
// chargers on a WebSocket server that calls them itself. Holdfast is on CPU 0,
// chargers and callers are on CPU 1, with the server of the direct way: what the
// table shows is what the gateway between them costs.
//
//	callbench -holdfast bin/holdfast
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/proc"
	"holdfast/tests/bench/hist"
	"holdfast/tests/bench/sut"
	"holdfast/tests/sim"
)

// systemCore and loadCore are the CPUs of the gateway and of everything else.
const (
	systemCore = 0
	loadCore   = 1
)

// caller calls a charger and waits for its answer.
type caller interface {
	Call(ctx context.Context, identity, action string, payload json.RawMessage) (json.RawMessage, error)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "callbench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var programs sut.Programs
	flag.StringVar(&programs.Holdfast, "holdfast", filepath.Join(filepath.Dir(self), "holdfast"), "`path` of the gateway")
	duration := flag.Duration("duration", 3*time.Second, "measured in each round")
	rounds := flag.Int("rounds", 3, "of each kind; the table has the medians")
	flag.Parse()
	if err := pin(loadCore); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "callbench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	programs.HoldfastArgs = []string{"-ping-interval", "0"}
	gateway, err := sut.StartGateway(programs, systemCore, dir)
	if err != nil {
		return err
	}
	defer gateway.Stop()
	client, err := proc.Dial(ctx, proc.ClientConfig{Name: "callbench", Socket: gateway.Socket, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer client.Close()
	direct, err := serveDirect()
	if err != nil {
		return err
	}
	defer direct.Close()

	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "callers, chargers\t\tCALLs/s\tp50 µs\tp99 µs\t")
	for _, n := range []int{1, 100, 1000} {
		for _, way := range []struct {
			name, url string
			by        caller
		}{{"holdfast", "ws://" + gateway.Addr + "/ocpp", client}, {"direct", "ws://" + direct.Addr + "/ocpp", direct}} {
			fmt.Fprintf(os.Stderr, "%d callers, %s\n", n, way.name)
			var all []measured
			for range *rounds {
				m, err := measure(ctx, way.url, way.by, n, *duration)
				if err != nil {
					return fmt.Errorf("%d callers, %s: %w", n, way.name, err)
				}
				all = append(all, m)
			}
			m := medians(all)
			fmt.Fprintf(table, "%d\t%s\t%.0f\t%.0f\t%.0f\t\n", n, way.name, m.rate, m.p50, m.p99)
		}
	}
	return table.Flush()
}

// measure has n callers call as many chargers, each its own, one CALL after the
// other. The chargers are new ones.
func measure(ctx context.Context, url string, by caller, n int, duration time.Duration) (m measured, err error) {
	ctx, end := context.WithCancel(ctx)
	defer end()
	chargers, err := sim.Start(ctx, sim.Config{URLs: []string{url}, Chargers: n})
	if err != nil {
		return m, err
	}
	defer func() {
		end()
		if r := chargers.Wait(); err == nil {
			err = r.Err()
		}
	}()
	if err := chargers.AllOpen(ctx); err != nil {
		return m, err
	}
	var mu sync.Mutex
	var h hist.Hist
	var calls int
	var running sync.WaitGroup
	warm := time.Now().Add(duration / 10)
	until := warm.Add(duration)
	for i := range n {
		identity := fmt.Sprintf("SIM-%05d", i)
		running.Go(func() {
			var mine []time.Duration
			for {
				began := time.Now()
				if began.After(until) || ctx.Err() != nil {
					break
				}
				if _, failed := by.Call(ctx, identity, "TriggerMessage", json.RawMessage(`{"requestedMessage":"Heartbeat"}`)); failed != nil {
					mu.Lock()
					err = failed
					mu.Unlock()
					return
				}
				if began.After(warm) {
					mine = append(mine, time.Since(began))
				}
			}
			mu.Lock()
			defer mu.Unlock()
			calls += len(mine)
			for _, d := range mine {
				h.Add(d)
			}
		})
	}
	running.Wait()
	return measured{float64(calls) / duration.Seconds(), micros(h.Quantile(0.5)), micros(h.Quantile(0.99))}, err
}

type measured struct{ rate, p50, p99 float64 }

func micros(d time.Duration) float64 { return float64(d) / 1e3 }

// pin puts all threads of this process, and those to come, on one CPU.
func pin(core int) error {
	var set unix.CPUSet
	set.Set(core)
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, task := range tasks {
		tid, err := strconv.Atoi(task.Name())
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(tid, &set); err != nil {
			return fmt.Errorf("pin to CPU %d: %w", core, err)
		}
	}
	return nil
}
