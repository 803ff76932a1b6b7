package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Gateway is a running `holdfast serve`.
type Gateway struct {
	*Process
	Addr       string // of its listener, host:port
	Processors string // path of its socket for processors
	PidFile    string
}

// StartGateway starts a gateway with its files in dir, on a free port, and waits
// until it listens. args are appended to its command line.
func StartGateway(ctx context.Context, binary, dir string, args ...string) (*Gateway, error) {
	if err := adoptOrphans(); err != nil {
		return nil, err
	}
	g := &Gateway{
		Processors: filepath.Join(dir, "processors.sock"),
		PidFile:    filepath.Join(dir, "holdfast.pid"),
	}
	p, err := Start("holdfast", binary, append([]string{
		"serve", "-listen", "127.0.0.1:0", "-processors", g.Processors, "-pid-file", g.PidFile, "-log-format", "json",
	}, args...)...)
	if err != nil {
		return nil, err
	}
	g.Process = p
	line, err := p.WaitLog(ctx, "listening", func(l Line) bool { return l.Msg() == "listening" && l.String("addr") != "" })
	if err != nil {
		return nil, errors.Join(err, p.Kill())
	}
	g.Addr = line.String("addr")
	return g, nil
}

// URL for chargers, without the identity.
func (g *Gateway) URL() string { return "ws://" + g.Addr + "/ocpp" }

// CurrentPid is the process that serves now: after an upgrade, another than Pid.
func (g *Gateway) CurrentPid() (int, error) {
	b, err := os.ReadFile(g.PidFile)
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0, fmt.Errorf("pid file: %w", err)
	}
	if !ours(pid) {
		return 0, fmt.Errorf("pid file names process %d, which runs no more or is not ours", pid)
	}
	return pid, nil
}

// SignalCurrent sends a signal to the process that serves now.
func (g *Gateway) SignalCurrent(s syscall.Signal) error {
	pid, err := g.CurrentPid()
	if err != nil {
		return err
	}
	return syscall.Kill(pid, s)
}

// Stop ends the gateway and whatever it upgraded itself to: with SIGTERM, and
// with SIGKILL what is still there when ctx ends, which is an error.
func (g *Gateway) Stop(ctx context.Context) error {
	pid, err := g.CurrentPid()
	if err != nil || pid == g.Pid() {
		err := g.Terminate(ctx)
		return errors.Join(err, g.Kill())
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return err
	}
	err = wait(ctx, fmt.Sprintf("the end of process %d", pid), func() bool { return gone(pid) })
	if err != nil && ours(pid) {
		err = errors.Join(err, syscall.Kill(pid, syscall.SIGKILL))
	}
	return errors.Join(err, g.Kill())
}

// wait waits for a condition that nothing announces.
func wait(ctx context.Context, what string, condition func() bool) error {
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for !condition() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, ctx.Err())
		}
	}
	return nil
}
