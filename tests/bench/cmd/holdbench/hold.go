package main

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"holdfast/tests/bench/load"
	"holdfast/tests/bench/peer"
	"holdfast/tests/bench/procfs"
	"holdfast/tests/bench/sut"
)

// hold is what is to be measured.
type hold struct {
	programs sut.Programs
	args     []string // of holdfast serve, besides those that each part adds
	dir      string
	system   string
	chargers int
	sources  int
	stable   time.Duration
	settle   time.Duration
	idle     time.Duration
	ping     time.Duration
	parts    int
}

// Part is one gateway, from its start to its end.
type Part struct {
	PingSeconds    float64       `json:"ping_interval_s"` // 0: no pings
	Empty          procfs.Memory `json:"empty"`           // started, nobody joined or connected
	Peak           procfs.Memory `json:"peak"`            // most, while chargers connected
	Connected      procfs.Memory `json:"connected"`       // the last one has just been acknowledged
	Settled        procfs.Memory `json:"settled"`
	End            procfs.Memory `json:"end"` // after the time idle
	ConnectSeconds float64       `json:"connect_s"`
	ConnectCPU     float64       `json:"connect_cpu_s"`
	SettleSeconds  float64       `json:"settle_s"`
	StillMoving    bool          `json:"still_moving"` // -settle was over before it settled
	Idle           load.Result   `json:"idle"`
}

// sampling is the pause between two looks at the memory, and slack how much
// memory may differ and still count as the same.
const (
	sampling = 200 * time.Millisecond
	slack    = 64 << 10
)

// part starts a gateway, connects the chargers and measures.
func (h *hold) part(ping, idle time.Duration) (p Part, err error) {
	p.PingSeconds = ping.Seconds()
	h.parts++
	progress("start %s, ping interval %v", h.system, ping)
	s, err := h.start(ping)
	if err != nil {
		return p, err
	}
	defer s.stop()
	if err := p.settle(&p.Empty, s.pid, 2*time.Second, 10*time.Second, func() error { time.Sleep(sampling); return nil }); err != nil {
		return p, err
	}
	if err := s.join(); err != nil {
		return p, err
	}
	fleet, err := p.connect(h, s)
	if err != nil {
		return p, err
	}
	defer fleet.Abandon()

	progress("settle, for %v at most", h.settle)
	breathe := func() error {
		_, err := load.Run(fleet, load.Plan{Mode: load.Idle, Size: 200, Duration: time.Second})
		return err
	}
	if err := p.settle(&p.Settled, s.pid, h.stable, h.settle, breathe); err != nil {
		return p, err
	}
	progress("idle for %v", idle)
	p.Idle, err = load.Run(fleet, load.Plan{Mode: load.Idle, Size: 200, Duration: idle, Watch: []int{s.pid}, Core: systemCore})
	if err != nil {
		return p, err
	}
	if p.End, err = procfs.ReadMemory(s.pid); err != nil {
		return p, err
	}
	return p, fleet.Close()
}

// connect opens all connections and waits until the processor has each OPENED.
func (p *Part) connect(h *hold, s *system) (*load.Fleet, error) {
	progress("connect %d chargers", h.chargers)
	before, err := procfs.CPU(s.pid)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	peak := watchPeak(s.pid)
	fleet, err := load.Connect(load.Config{
		Addr: s.addr, Path: "/ocpp/", Prefix: fmt.Sprintf("H%d-", h.parts), Subprotocol: "ocpp1.6",
		Chargers: h.chargers, Sources: h.sources, TLS: h.programs.TLS,
	})
	if err == nil {
		err = s.opened(h.chargers)
	}
	p.Peak = peak()
	p.ConnectSeconds = time.Since(start).Seconds()
	if err != nil {
		return fleet, err
	}
	after, err := procfs.CPU(s.pid)
	if err != nil {
		return fleet, err
	}
	p.ConnectCPU = (after - before).Seconds()
	p.Connected, err = procfs.ReadMemory(s.pid)
	if p.Connected.PSS > p.Peak.PSS {
		p.Peak = p.Connected
	}
	return fleet, err
}

// settle waits until the memory has been the same for as long as stable, and
// no longer than limit, and puts it into m. between is done between two looks.
func (p *Part) settle(m *procfs.Memory, pid int, stable, limit time.Duration, between func() error) error {
	start := time.Now()
	since := start
	p.StillMoving = false
	for low, high := int64(0), int64(0); ; {
		var err error
		if *m, err = procfs.ReadMemory(pid); err != nil {
			return err
		}
		low, high = min(low, m.PSS), max(high, m.PSS)
		if high-low > slack {
			low, high, since = m.PSS, m.PSS, time.Now()
		}
		p.SettleSeconds = time.Since(start).Seconds()
		if time.Since(since) >= stable {
			return nil
		}
		if time.Since(start) >= limit {
			p.StillMoving = true
			return nil
		}
		if err := between(); err != nil {
			return err
		}
	}
}

// watchPeak looks at the memory until the function it returns is called, which
// returns the most it saw.
func watchPeak(pid int) func() procfs.Memory {
	var most procfs.Memory
	stop := make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			if m, err := procfs.ReadMemory(pid); err == nil && m.PSS > most.PSS {
				most = m
			}
			select {
			case <-stop:
				return
			case <-time.After(sampling):
			}
		}
	})
	return func() procfs.Memory {
		close(stop)
		wait.Wait()
		return most
	}
}

// system is what holds the connections.
type system struct {
	pid    int
	addr   string
	join   func() error             // lets the processor join
	opened func(chargers int) error // waits until it has acknowledged so many
	stop   func()
}

func (h *hold) start(ping time.Duration) (*system, error) {
	if h.system == "bare" {
		s, err := sut.Start("bare", h.programs, systemCore, h.dir)
		if err != nil {
			return nil, err
		}
		pids, err := s.PIDs()
		if err != nil {
			s.Stop()
			return nil, err
		}
		return &system{
			pids[0], s.Addr,
			func() error { return nil }, func(int) error { return nil }, s.Stop,
		}, nil
	}
	dir, err := os.MkdirTemp(h.dir, "gateway-")
	if err != nil {
		return nil, err
	}
	programs := h.programs
	programs.HoldfastArgs = append([]string{"-ping-interval", ping.String()}, h.args...)
	g, err := sut.StartGateway(programs, systemCore, dir)
	if err != nil {
		return nil, err
	}
	j := &joiner{socket: g.Socket, ended: make(chan error, 1)}
	return &system{g.PID(), g.Addr, j.join, j.opened, g.Stop}, nil
}

// joiner is the processor, in this process.
type joiner struct {
	socket string
	peer   peer.Processor
	ended  chan error
}

// joinTimeout bounds each step of the processor.
const joinTimeout = 60 * time.Second

func (j *joiner) join() error {
	joined := make(chan struct{})
	go func() {
		j.ended <- j.peer.Run(j.socket, joinTimeout, func() { close(joined) })
	}()
	select {
	case <-joined:
		return nil
	case err := <-j.ended:
		return errors.Join(errors.New("the processor cannot join"), err)
	}
}

func (j *joiner) opened(chargers int) error {
	for deadline := time.Now().Add(joinTimeout); j.peer.Opened.Load() < int64(chargers); time.Sleep(10 * time.Millisecond) {
		select {
		case err := <-j.ended:
			return fmt.Errorf("the processor has ended: %w", err)
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the processor has seen %d of %d chargers", j.peer.Opened.Load(), chargers)
		}
	}
	return nil
}

func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}
