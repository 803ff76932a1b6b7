package harness

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Gateway is a running `holdfast serve`.
type Gateway struct {
	*Process
	Addr       string // of its listener for ws, host:port
	AddrTLS    string // of its listener for wss
	TLS        *TLS   // nil: it has none
	Processors string // path of its socket for processors
	PidFile    string

	config string                      // its file, if it has one
	begin  func(context.Context) error // starts it again as it was started
	mark   string                      // in the environment of this gateway, and of what it upgrades itself to
}

// Setup is what differs from one gateway to the next. Its zero value is a gateway with
// wss and without anything that not every gateway needs.
type Setup struct {
	Binary string   // cmd/holdfast; for a World, "" is the one that Main has built
	Dir    string   // of its files; a World has its own
	Env    []string // more in the environment
	Args   []string // appended to its command line
	File   bool     // settings are in a config file, which Configure changes, and none in flags
	Lines  []string // of that file
	Plain  bool     // no wss, for binaries that have none
}

// StartGateway starts a gateway on two free ports, for ws and for wss, and waits until
// it listens.
func StartGateway(ctx context.Context, s Setup) (*Gateway, error) {
	g := gatewayIn(s.Dir)
	if !s.Plain {
		var err error
		if g.TLS, err = writeTLS(s.Dir); err != nil {
			return nil, err
		}
	}
	args := []string{"serve"}
	if s.File {
		if err := g.Configure(s.Lines...); err != nil {
			return nil, err
		}
		args = append(args, "-config", g.config)
	} else {
		args = append(args, flagsOf(g.lines(), s.Args)...)
	}
	args = append(args, s.Args...)
	g.begin = func(ctx context.Context) error { return g.start(ctx, s.Env, s.Binary, args...) }
	return g, g.begin(ctx)
}

// Crash kills the process that serves with SIGKILL, and starts the gateway again.
func (g *Gateway) Crash(ctx context.Context) error {
	pid, err := g.CurrentPid()
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return err
	}
	return g.Again(ctx)
}

// Again starts the gateway again, once nothing of it runs any more.
func (g *Gateway) Again(ctx context.Context) error {
	last := 0 // the process that served: its sockets go after its environment, which Pids looks at
	if text, err := os.ReadFile(g.PidFile); err == nil {
		last, _ = strconv.Atoi(strings.TrimSpace(string(text)))
	}
	if err := wait(ctx, "the end of the gateway", func() bool { return len(g.Pids()) == 0 }); err != nil {
		return err
	}
	if last == g.Pid() {
		<-g.Exited()
	} else if err := wait(ctx, "the end of the process that served", func() bool { return gone(last) }); err != nil {
		return err
	}
	return g.begin(ctx)
}

// lines are the settings that every gateway needs.
func (g *Gateway) lines() []string {
	lines := []string{"listen 127.0.0.1:0", "processors " + g.Processors, "pid-file " + g.PidFile, "log-format json"}
	if g.TLS != nil {
		lines = append(lines, g.TLS.lines()...)
	}
	return lines
}

func gatewayIn(dir string) *Gateway {
	return &Gateway{
		Processors: filepath.Join(dir, "processors.sock"),
		PidFile:    filepath.Join(dir, "holdfast.pid"),
		config:     filepath.Join(dir, "holdfast.conf"),
		mark:       "HOLDFAST_HARNESS_GATEWAY=" + rand.Text(),
	}
}

// Configure writes the config file for the next upgrade. Lines for the sockets
// are added unless there are others of their name.
func (g *Gateway) Configure(lines ...string) error {
	given := lines
	for _, line := range g.lines() {
		name, _, _ := strings.Cut(line, " ")
		if !slices.ContainsFunc(given, func(l string) bool { return strings.HasPrefix(l, name+" ") }) {
			lines = append(lines, line)
		}
	}
	return os.WriteFile(g.config, []byte(strings.Join(lines, "\n")+"\n"), 0o600)
}

func (g *Gateway) start(ctx context.Context, env []string, binary string, args ...string) error {
	if err := adoptOrphans(); err != nil {
		return err
	}
	p, err := StartEnv("holdfast", append(env, g.mark), binary, args...)
	if err != nil {
		return err
	}
	g.Process = p
	if g.Addr, err = p.listening(ctx, false); err == nil && g.TLS != nil {
		g.AddrTLS, err = p.listening(ctx, true)
	}
	if err != nil {
		return errors.Join(err, p.Kill())
	}
	// It follows a moment later.
	return wait(ctx, "the pid file", func() bool {
		_, err := g.CurrentPid()
		return err == nil
	})
}

// listening waits until a listener is ready, and returns its address.
func (p *Process) listening(ctx context.Context, overTLS bool) (addr string, err error) {
	what := "listening"
	if overTLS {
		what = "listening for wss"
	}
	line, err := p.WaitLog(ctx, what, func(l Line) bool {
		is, _ := l.Fields["tls"].(bool)
		return l.Msg() == "listening" && l.String("addr") != "" && is == overTLS
	})
	return line.String("addr"), err
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
