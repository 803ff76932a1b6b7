package harness

import (
	"cmp"
	"context"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast/tests/ledger"
)

// Deadline of everything that should happen soon, on a machine with ten times as much
// to do as it can, too: it is only waited for by a test that fails.
const Deadline = time.Minute

// tailLines is how much of each log a failed test shows.
const tailLines = 60

// World is a gateway and what belongs to it, for one test.
type World struct {
	*Gateway
	t      testing.TB
	dir    string
	keyLog string // where a gateway of NewTapped writes the secrets of TLS
}

// New starts a gateway that ends with the test.
func New(t testing.TB, args ...string) *World {
	t.Helper()
	return NewOf(t, Setup{Args: args})
}

// NewWithProcessor is New with the reference processor.
func NewWithProcessor(t testing.TB, args ...string) *World {
	t.Helper()
	w := New(t, args...)
	w.Processor("reference")
	return w
}

// NewOf is New for a Setup.
func NewOf(t testing.TB, s Setup) *World {
	t.Helper()
	w := &World{t: t, dir: t.TempDir()}
	s.Dir = w.dir
	s.Binary = cmp.Or(s.Binary, built.Holdfast)
	g, err := StartGateway(soon(t), s)
	return w.run(g, err)
}

// run ends the gateway with the test.
func (w *World) run(g *Gateway, err error) *World {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
	w.Gateway = g
	w.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), Deadline)
		defer cancel()
		if !killed(g.Process) && len(g.Pids()) > 0 { // else the test did it
			if err := g.Stop(ctx); err != nil {
				w.t.Errorf("stopping the gateway: %v", err)
			}
		}
		g.sweep()
		w.inspect(g.Process)
	})
	return w
}

// Processor starts cmd/processor under a name. It ends with the test.
func (w *World) Processor(name string, args ...string) *Process {
	w.t.Helper()
	p, err := StartProcessor(soon(w.t), built.Processor, w.Processors, name, args...)
	return w.own(p, err)
}

// Checkproc starts tests/cmd/checkproc under a name; all write one ledger.
func (w *World) Checkproc(name string, args ...string) *Process {
	w.t.Helper()
	p, err := StartCheckproc(soon(w.t), built.Checkproc, w.Processors, name, w.ledger(), args...)
	return w.own(p, err)
}

// Run starts any other program that ends with the test.
func (w *World) Run(name, path string, args ...string) *Process {
	w.t.Helper()
	p, err := Start(name, path, args...)
	return w.own(p, err)
}

// own ends a process with the test, before the gateway ends.
func (w *World) own(p *Process, err error) *Process {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := p.Signal(syscall.SIGKILL); err != nil {
			w.t.Errorf("killing %s: %v", p.Name, err)
		}
		<-p.Exited()
		w.inspect(p)
	})
	return p
}

// Ledger checks what the checking processors noted.
func (w *World) Ledger() ledger.Summary {
	w.t.Helper()
	s, err := ledger.CheckFile(w.ledger())
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *World) ledger() string { return filepath.Join(w.dir, "ledger") }

// Logged waits until a process logs a line that contains the text.
func (w *World) Logged(p *Process, text string) Line {
	w.t.Helper()
	l, err := p.WaitLog(soon(w.t), text, func(l Line) bool { return strings.Contains(l.Text, text) })
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

// inspect looks for what no process may log, and shows the log of a failed test.
func (w *World) inspect(p *Process) {
	for _, bad := range []string{"DATA RACE", "panic:", "fatal error:", "SIGSEGV:", "SIGBUS:", "SIGABRT:"} {
		if p.Log.Contains(bad) {
			w.t.Errorf("%s logged %q:\n%s", p.Name, bad, p.Log.From(bad, tailLines))
		}
	}
	if w.t.Failed() {
		w.t.Logf("the end of the log of %s (process %d):\n%s", p.Name, p.Pid(), p.Log.Tail(tailLines))
	}
}

// Terminate drains a processor and waits for its end.
func (w *World) Terminate(p *Process) {
	w.t.Helper()
	if err := p.Terminate(soon(w.t)); err != nil {
		w.t.Fatal(err)
	}
}

// Kill kills a process with SIGKILL.
func (w *World) Kill(p *Process) {
	w.t.Helper()
	if err := p.Kill(); err != nil {
		w.t.Fatal(err)
	}
}

// Pause stops a process with SIGSTOP; Resume lets it go on.
func (w *World) Pause(p *Process) { w.signal(p, syscall.SIGSTOP) }

// Resume lets a paused process go on.
func (w *World) Resume(p *Process) { w.signal(p, syscall.SIGCONT) }

func (w *World) signal(p *Process, s syscall.Signal) {
	w.t.Helper()
	if err := p.Signal(s); err != nil {
		w.t.Fatal(err)
	}
}

// Until waits for a condition, and fails the test at the deadline.
func Until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	if err := wait(soon(t), what, condition); err != nil {
		t.Fatal(err)
	}
}

// soon is a context that ends at the Deadline.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), Deadline)
	t.Cleanup(cancel)
	return ctx
}

// killed says whether a process has ended by SIGKILL.
func killed(p *Process) bool {
	select {
	case <-p.Exited():
	default:
		return false
	}
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}
