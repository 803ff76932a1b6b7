package main

import (
	"context"
	"fmt"
	"syscall"
	"time"
)

// step is something done to the running system.
type step struct {
	at   time.Duration // after the last charger connected
	what string
	do   func(*stage, context.Context) error
}

// steps in their order. One that takes longer delays the next.
var steps = []step{
	{2 * time.Second, "kill the central system (SIGKILL), and start it again", (*stage).restart},
	{5 * time.Second, "release the bridge (SIGTERM, and a new one)", (*stage).release},
	{8 * time.Second, "upgrade the gateway", (*stage).upgrade},
	{10 * time.Second, "kill the central system once more, for longer", (*stage).outage},
	{15 * time.Second, "give every second charger to another central system (SIGHUP)", (*stage).move},
	{18 * time.Second, "release the bridge once more", (*stage).release},
	{20 * time.Second, "kill the central system amid an upgrade of the gateway", (*stage).both},
}

// end is when the load ends.
const end = 25 * time.Second

func (s *stage) restart(ctx context.Context) error { return s.away(ctx, 500*time.Millisecond) }
func (s *stage) outage(ctx context.Context) error  { return s.away(ctx, 3*time.Second) }

func (s *stage) away(ctx context.Context, pause time.Duration) error {
	if err := s.main.Kill(); err != nil {
		return err
	}
	time.Sleep(pause)
	if err := s.start(ctx, &s.main); err != nil {
		return err
	}
	s.say("it was away for %v, and is process %d now", pause, s.main.Pid())
	return nil
}

func (s *stage) release(ctx context.Context) error {
	began := time.Now()
	if err := s.b.Terminate(ctx); err != nil {
		return err
	}
	if err := s.startBridge(ctx); err != nil {
		return err
	}
	s.say("the new bridge is process %d, after %v", s.b.Pid(), time.Since(began).Round(time.Millisecond))
	return nil
}

func (s *stage) upgrade(ctx context.Context) error {
	if out, err := s.gateway.Upgrade(ctx, s.holdfast); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	pid, err := s.gateway.CurrentPid()
	s.say("process %d serves", pid)
	return err
}

func (s *stage) move(context.Context) error {
	if err := s.routes("*[02468] ws://"+s.second.address+"/{identity}", "* ws://"+s.main.address+"/{identity}"); err != nil {
		return err
	}
	return s.b.Signal(syscall.SIGHUP)
}

func (s *stage) both(ctx context.Context) error {
	failed := make(chan error, 1)
	go func() { failed <- s.upgrade(ctx) }()
	if err := s.away(ctx, 500*time.Millisecond); err != nil {
		return err
	}
	return <-failed
}

// play performs the steps at their times, and waits for the end.
func (s *stage) play(ctx context.Context) error {
	start := time.Now()
	for _, st := range steps {
		if err := until(ctx, start.Add(st.at)); err != nil {
			return err
		}
		s.say("▶ %s", st.what)
		if err := st.do(s, ctx); err != nil {
			return fmt.Errorf("%s: %w", st.what, err)
		}
	}
	if err := until(ctx, start.Add(end)); err != nil {
		return err
	}
	for _, cs := range []system{s.main, s.second} { // they make no more CALLs
		if err := cs.Signal(syscall.SIGHUP); err != nil {
			return err
		}
	}
	return until(ctx, start.Add(end+time.Second))
}

func until(ctx context.Context, at time.Time) error {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
