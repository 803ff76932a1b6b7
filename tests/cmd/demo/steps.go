package main

import (
	"context"
	"fmt"
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
	{3 * time.Second, "kill processor A (SIGKILL)", (*stage).killA},
	{5 * time.Second, "start processor A again", (*stage).startA},
	{6 * time.Second, "upgrade the gateway", (*stage).upgrade},
	{8 * time.Second, "upgrade the gateway with a configuration that has an error", (*stage).upgradeBroken},
	{9 * time.Second, "drain processor B (SIGTERM) and wait until it has left", (*stage).drainB},
	{11 * time.Second, "start its replacement, processor C", (*stage).startC},
	{12 * time.Second, "upgrade the gateway once more", (*stage).upgrade},
}

// end is when the load ends.
const end = 15 * time.Second

func (s *stage) killA(context.Context) error {
	pid := s.a.Pid()
	if err := s.a.Kill(); err != nil {
		return err
	}
	s.say("process %d is dead; its unacknowledged messages go to B", pid)
	return nil
}

func (s *stage) startA(ctx context.Context) (err error) {
	s.a, err = s.join(ctx, "A")
	return err
}

func (s *stage) drainB(ctx context.Context) error {
	if err := s.b.Terminate(ctx); err != nil {
		return err
	}
	s.say("B has finished what was its own, and left")
	return nil
}

func (s *stage) startC(ctx context.Context) (err error) {
	s.b, err = s.join(ctx, "C")
	return err
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
	return until(ctx, start.Add(end))
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
