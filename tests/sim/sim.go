package sim

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"
)

// Sim is a simulation that runs.
type Sim struct {
	Counters Counters

	config   Config
	run      string
	chargers []*charger
	started  time.Time
	ramped   chan struct{} // closed when every charger tried to connect
	done     chan struct{} // closed when report is there

	waits   *waits
	refused reasons
	dropped reasons
	faults  faults
	report  Report
}

// Run simulates until the configured duration or ctx ends, and reports.
func Run(ctx context.Context, config Config) (Report, error) {
	s, err := Start(ctx, config)
	if err != nil {
		return Report{}, err
	}
	return s.Wait(), nil
}

// Start begins a simulation. When ctx ends, the chargers send no more, wait for
// their answers and close, as they do after the configured duration.
func Start(ctx context.Context, config Config) (*Sim, error) {
	config = config.withDefaults()
	if err := config.check(); err != nil {
		return nil, err
	}
	s := &Sim{
		config: config,
		run:    newRunID(),
		ramped: make(chan struct{}),
		done:   make(chan struct{}),
		waits:  newWaits(),
	}
	s.chargers = make([]*charger, config.Chargers)
	for i := range s.chargers {
		s.chargers[i] = &charger{sim: s, number: i}
	}
	s.started = time.Now()
	go s.simulate(ctx)
	return s, nil
}

// Wait returns when the simulation is over.
func (s *Sim) Wait() Report {
	<-s.done
	return s.report
}

// RunID is what the message ids of this run start with.
func (s *Sim) RunID() string { return s.run }

// AllOpen returns nil once every charger is connected, and an error if one could
// not, or if ctx ends.
func (s *Sim) AllOpen(ctx context.Context) error {
	select {
	case <-s.ramped:
	case <-ctx.Done():
		return ctx.Err()
	}
	if s.Counters.Opened.Load() != int64(len(s.chargers)) {
		return errors.New("some chargers could not connect")
	}
	return nil
}

// simulate is the whole of a run: ramp and load, drain, close, report.
func (s *Sim) simulate(ctx context.Context) {
	load, stopLoad := context.WithCancel(ctx)
	defer stopLoad()
	always, stopAll := context.WithCancel(context.Background())
	defer stopAll()

	var pacers, watchers, readers sync.WaitGroup
	if s.config.Rate > 0 {
		s.startPacers(load, &pacers, s.config.Rate, (*charger).turn)
	}
	if s.config.Ping > 0 {
		s.startPacers(load, &pacers, float64(len(s.chargers))/s.config.Ping.Seconds(), (*charger).ping)
	}
	watchers.Go(func() { s.sweep(always) })
	if s.config.Progress != nil {
		watchers.Go(func() { s.progress(always) })
	}

	s.connect(load, &readers)
	close(s.ramped)
	loaded, before := time.Now(), s.Counters.Sent.Load()
	if s.Counters.Held.Load() > 0 {
		s.hold(load)
	}
	stopLoad()
	pacers.Wait()
	rate := float64(s.Counters.Sent.Load()-before) / time.Since(loaded).Seconds()

	s.settled() // the sweeper gives up what is never answered, so this ends
	elapsed := time.Since(s.started)
	s.closeAll(&readers)
	stopAll()
	watchers.Wait()
	s.report = s.summarize(elapsed, rate)
	close(s.done)
}

// connect opens the connections at the rate of the ramp, and returns when each
// charger tried.
func (s *Sim) connect(ctx context.Context, readers *sync.WaitGroup) {
	var dialing sync.WaitGroup
	slots := make(chan struct{}, maxDialing)
	next := 0
	// Turns given up because a slot was not free come again: next counts chargers.
	pace(ctx, s.config.Ramp, func(int64) {}, func(int64, time.Time) bool {
		if next == len(s.chargers) {
			return false
		}
		c := s.chargers[next]
		next++
		slots <- struct{}{}
		dialing.Add(1)
		readers.Go(func() {
			c.run(ctx, func() { <-slots; dialing.Done() })
		})
		return next < len(s.chargers)
	})
	dialing.Wait()
}

// hold keeps the load up for the duration.
func (s *Sim) hold(ctx context.Context) {
	if s.config.Duration == 0 {
		<-ctx.Done()
		return
	}
	timer := time.NewTimer(s.config.Duration)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// startPacers gives every charger its turns, all together perSecond. Each pacer
// has a share of the chargers.
func (s *Sim) startPacers(ctx context.Context, wg *sync.WaitGroup, perSecond float64, turn func(*charger, time.Time)) {
	pacers := min(runtime.GOMAXPROCS(0), len(s.chargers))
	for p := range pacers {
		var share []*charger
		for i := p; i < len(s.chargers); i += pacers {
			share = append(share, s.chargers[i])
		}
		rate := perSecond * float64(len(share)) / float64(len(s.chargers))
		behind := func(n int64) { s.Counters.Behind.Add(n) }
		wg.Go(func() {
			pace(ctx, rate, behind, func(n int64, now time.Time) bool {
				turn(share[n%int64(len(share))], now)
				return ctx.Err() == nil
			})
		})
	}
}

// sweep looks for chargers that wait too long, until ctx ends.
func (s *Sim) sweep(ctx context.Context) {
	ticker := time.NewTicker(min(250*time.Millisecond, max(time.Millisecond, s.config.Deadline/4)))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			for _, c := range s.chargers {
				c.sweep(now)
			}
		}
	}
}

// settled returns when no CALL is outstanding.
func (s *Sim) settled() {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for s.Counters.Outstanding() > 0 {
		<-ticker.C
	}
}

// closeAll closes every connection in order, and those that do not answer without.
func (s *Sim) closeAll(readers *sync.WaitGroup) {
	for _, c := range s.chargers {
		c.close()
	}
	closed := make(chan struct{})
	go func() { readers.Wait(); close(closed) }()
	timer := time.NewTimer(closeTimeout)
	defer timer.Stop()
	select {
	case <-closed:
		return
	case <-timer.C:
	}
	for _, c := range s.chargers {
		c.abandon()
	}
	<-closed
}
