package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	configuration = "# of the demonstration\nping-interval 30s\n"
	mistake       = "ping-intervall 20s\n"
)

// upgrade replaces the gateway, and shows what it said.
func (s *stage) upgrade(ctx context.Context) error {
	before, err := s.gateway.CurrentPid()
	if err != nil {
		return err
	}
	out, err := s.command(ctx)
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	after, err := s.gateway.CurrentPid()
	if err != nil {
		return err
	}
	if after == before {
		return fmt.Errorf("process %d still serves", before)
	}
	for line := range strings.Lines(out) {
		if strings.Contains(line, "pause") || strings.Contains(line, "connections") {
			fmt.Print("          ", line)
		}
	}
	s.say("process %d serves instead of %d", after, before)
	return nil
}

// upgradeBroken tries the same with a mistake in the configuration; it must
// fail, say why, and change nothing.
func (s *stage) upgradeBroken(ctx context.Context) error {
	before, err := s.gateway.CurrentPid()
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.config, []byte(configuration+mistake), 0o600); err != nil {
		return err
	}
	out, failed := s.command(ctx)
	if err := os.WriteFile(s.config, []byte(configuration), 0o600); err != nil {
		return err
	}
	var exit *exec.ExitError
	if !errors.As(failed, &exit) {
		return fmt.Errorf("the upgrade did not fail: %w: %s", failed, out)
	}
	for line := range strings.Lines(out) {
		if strings.Contains(line, "rolled back") {
			fmt.Print("          ", line)
		}
	}
	if after, err := s.gateway.CurrentPid(); err != nil || after != before {
		return fmt.Errorf("process %d serves instead of %d: %w", after, before, err)
	}
	s.say("process %d goes on", before)
	return nil
}

func (s *stage) command(ctx context.Context) (string, error) {
	admin := filepath.Join(filepath.Dir(s.gateway.Processors), "admin.sock")
	out, err := exec.CommandContext(ctx, s.holdfast, "upgrade", "-admin-socket", admin).CombinedOutput()
	return string(out), err
}
