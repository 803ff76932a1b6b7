package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"holdfast/tests/harness"
	"holdfast/tests/ledger"
	"holdfast/tests/sim"
	"holdfast/tests/suites"
)

// Config says how much of it.
type Config struct {
	Binaries harness.Binaries
	Dir      string // for sockets, files and the ledger
	Upgrades int
	Chargers int
	Rate     float64
	Every    time.Duration // from one upgrade to the next
	Loops    int
	Seed     uint64
	Out      io.Writer // a line for each upgrade
}

// Sample is what one process of the gateway had before it was replaced.
type Sample struct {
	Files, Threads int
	PSS            int64 // bytes
	Pause, Took    time.Duration
}

// Result is what came of it.
type Result struct {
	Report   sim.Report
	Ledger   ledger.Summary
	Samples  []Sample
	Restarts int // of processors
}

const (
	processors = 3
	// deadline of one step, and for the answer to a message.
	deadline = 30 * time.Second
	// spareFiles is what links in motion may add to the files of a process.
	spareFiles = 8
	// spareThreads is what the runtime may add by chance.
	spareThreads = 4
	// spareMemory may be added by chance, beside a fifth.
	spareMemory = 2 << 20
)

// Run runs it all. An error is a step that failed; Check judges the result.
func Run(ctx context.Context, c Config) (res Result, err error) {
	g, err := harness.StartGateway(ctx, harness.Setup{Binary: c.Binaries.Holdfast, Dir: c.Dir, Args: []string{"-loops", fmt.Sprint(c.Loops)}})
	if err != nil {
		return res, err
	}
	defer func() {
		ending, cancel := context.WithTimeout(context.Background(), deadline)
		defer cancel()
		if stopping := g.Stop(ending); err == nil {
			err = stopping
		}
		if err != nil {
			err = fmt.Errorf("%w\nthe end of the gateway's log:\n%s", err, g.Log.Tail(30))
		}
	}()
	crew, err := hire(ctx, c, g)
	if err != nil {
		return res, err
	}
	defer crew.end()

	load, stop := context.WithCancel(ctx)
	defer stop()
	s, err := sim.Start(load, sim.Config{
		URLs: g.URLs(), Chargers: c.Chargers, Rate: c.Rate, Deadline: deadline, Outstanding: 2,
		TLS: g.TLS.Client(), Suites: suites.All,
	})
	if err != nil {
		return res, err
	}
	err = s.AllOpen(ctx)
	if err == nil {
		crew.unrest()
		res.Samples, err = upgrades(ctx, c, g)
	}
	crew.peace()
	res.Restarts = crew.restarts
	err = errors.Join(err, crew.err)
	stop()
	res.Report = s.Wait()
	if err != nil {
		return res, err
	}
	res.Ledger, err = ledger.CheckFile(crew.ledger)
	return res, err
}

// upgrades does what this is about.
func upgrades(ctx context.Context, c Config, g *harness.Gateway) (samples []Sample, err error) {
	next := time.NewTicker(c.Every)
	defer next.Stop()
	for n := range c.Upgrades {
		select {
		case <-next.C:
		case <-ctx.Done():
			return samples, ctx.Err()
		}
		before, err := g.CurrentPid()
		if err != nil {
			return samples, err
		}
		s, err := measure(before)
		if err != nil {
			return samples, err
		}
		step, cancel := context.WithTimeout(ctx, deadline)
		began := time.Now()
		out, err := g.Upgrade(step, c.Binaries.Holdfast)
		s.Took = time.Since(began)
		cancel()
		if err != nil {
			return samples, fmt.Errorf("upgrade %d: %w\n%s", n+1, err, out)
		}
		for end := time.Now().Add(deadline); before != g.Pid() && !harness.Gone(before); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				return samples, fmt.Errorf("upgrade %d: process %d has not ended", n+1, before)
			}
		}
		s.Pause = pause(g)
		samples = append(samples, s)
		fmt.Fprintf(c.Out, "upgrade %3d: pause %8v, %8v in all; before it %d files, %d threads, %.1f MiB\n",
			n+1, s.Pause, s.Took.Round(time.Millisecond), s.Files, s.Threads, float64(s.PSS)/(1<<20))
	}
	return samples, nil
}

func measure(pid int) (s Sample, err error) {
	if s.Files, err = harness.Files(pid); err != nil {
		return s, err
	}
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return s, err
	}
	s.Threads = len(tasks)
	s.PSS, err = harness.PSS(pid)
	return s, err
}

// pause is what the last upgrade has logged.
func pause(g *harness.Gateway) (d time.Duration) {
	for _, l := range g.Log.Lines() {
		if l.Msg() == "upgraded" {
			d, _ = time.ParseDuration(l.String("pause"))
		}
	}
	return d
}

// crew are the processors, which come and go.
type crew struct {
	start    func(name string) (*harness.Process, error)
	ledger   string
	rand     *rand.Rand
	running  []*harness.Process
	restarts int
	quit     chan struct{}
	wait     sync.WaitGroup
	err      error // this and restarts: after peace
}

func hire(ctx context.Context, c Config, g *harness.Gateway) (*crew, error) {
	w := &crew{ledger: filepath.Join(c.Dir, "ledger"), rand: rand.New(rand.NewPCG(c.Seed, 0)), quit: make(chan struct{})}
	w.start = func(name string) (*harness.Process, error) {
		ctx, cancel := context.WithTimeout(ctx, deadline)
		defer cancel()
		return harness.StartCheckproc(ctx, c.Binaries.Checkproc, g.Processors, name, w.ledger)
	}
	for n := range processors {
		p, err := w.start(fmt.Sprint("p", n))
		if err != nil {
			w.end()
			return nil, err
		}
		w.running = append(w.running, p)
	}
	return w, nil
}

// unrest restarts one processor after the other until peace.
func (w *crew) unrest() {
	w.wait.Go(func() {
		for w.err == nil {
			select {
			case <-w.quit:
				return
			case <-time.After(time.Duration(w.rand.IntN(1500)) * time.Millisecond):
			}
			w.err = w.restart()
		}
	})
}

func (w *crew) restart() error {
	n := w.rand.IntN(processors)
	p := w.running[n]
	var err error
	if w.rand.IntN(2) == 0 {
		err = p.Kill()
	} else {
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		err = p.Terminate(ctx)
		cancel()
	}
	if err == nil {
		p, err = w.start(fmt.Sprint("p", n))
	}
	if err != nil {
		return fmt.Errorf("processor p%d: %w", n, err)
	}
	w.running[n] = p
	w.restarts++
	return nil
}

// peace ends the unrest.
func (w *crew) peace() {
	close(w.quit)
	w.wait.Wait()
}

func (w *crew) end() {
	for _, p := range w.running {
		_ = p.Kill()
	}
}

// Check holds a result to the promises.
func (r Result) Check() error {
	var errs []error
	if err := r.Report.Err(); err != nil {
		errs = append(errs, fmt.Errorf("chargers saw %w; first: %q", err, r.Report.Faults))
	}
	if err := r.Ledger.Err(); err != nil {
		errs = append(errs, err)
	}
	if r.Ledger.Distinct != r.Report.Sent {
		errs = append(errs, fmt.Errorf("%d sent, %d came to processors", r.Report.Sent, r.Ledger.Distinct))
	}
	if n := len(r.Samples); n >= 10 {
		// A tenth at each end: single samples are of their moment.
		first, last := r.Samples[n/10:n/10+max(3, n/10)], r.Samples[n-max(3, n/10):]
		grown := func(what string, of func(Sample) int64, spare int64) {
			if a, b := median(first, of), median(last, of); b > a+spare {
				errs = append(errs, fmt.Errorf("%s grew from %d to %d", what, a, b))
			}
		}
		grown("open files", func(s Sample) int64 { return int64(s.Files) }, spareFiles)
		grown("threads", func(s Sample) int64 { return int64(s.Threads) }, spareThreads)
		grown("memory", func(s Sample) int64 { return s.PSS }, spareMemory+median(first, func(s Sample) int64 { return s.PSS })/5)
	}
	return errors.Join(errs...)
}

func median(samples []Sample, of func(Sample) int64) int64 {
	all := make([]int64, len(samples))
	for i, s := range samples {
		all[i] = of(s)
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// Summary is a result in a few lines.
func (r Result) Summary(out io.Writer) {
	pauses := make([]time.Duration, len(r.Samples))
	for i, s := range r.Samples {
		pauses[i] = s.Pause
	}
	slices.Sort(pauses)
	if n := len(pauses); n > 0 {
		fmt.Fprintf(out, "%d upgrades: pause median %v, 9 of 10 below %v, longest %v; %d restarts of processors\n",
			n, pauses[n/2], pauses[n*9/10], pauses[n-1], r.Restarts)
		a, b := r.Samples[n/10], r.Samples[n-1]
		fmt.Fprintf(out, "after upgrade %d: %d files, %d threads, %.1f MiB; at the end: %d files, %d threads, %.1f MiB\n",
			n/10, a.Files, a.Threads, float64(a.PSS)/(1<<20), b.Files, b.Threads, float64(b.PSS)/(1<<20))
	}
	fmt.Fprintf(out, "%d messages to processors, %d redelivered, %d moves\n", r.Ledger.Messages, r.Ledger.Redelivered, r.Ledger.Moves)
	_ = r.Report.WriteTable(out)
}
