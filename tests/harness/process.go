package harness

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// mark is in the environment of everything this harness started, and of nothing else.
var mark = "HOLDFAST_HARNESS=" + rand.Text()

// poll is how often conditions are looked at that nothing announces.
const poll = 5 * time.Millisecond

// Process is a program that the harness started. Its zero value is of no use; see Start.
type Process struct {
	Name string
	Log  *Log

	cmd    *exec.Cmd
	exited chan struct{} // closed when the process is waited for
	err    error         // of Wait, after exited
}

// Start starts a program. Its output, and that of its descendants, goes to Log.
func Start(name, path string, args ...string) (*Process, error) {
	return StartEnv(name, nil, path, args...)
}

// StartEnv is Start with more in the environment.
func StartEnv(name string, env []string, path string, args ...string) (*Process, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	p := &Process{Name: name, Log: newLog(), cmd: exec.Command(path, args...), exited: make(chan struct{})}
	p.cmd.Env = append(append(os.Environ(), mark), env...)
	// A file and not a writer: descendants keep it, and Wait must not wait for them.
	p.cmd.Stdout, p.cmd.Stderr = w, w
	if err := p.cmd.Start(); err != nil {
		r.Close()
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	go func() {
		defer r.Close()
		lines := bufio.NewReader(r)
		for {
			line, err := lines.ReadString('\n')
			if line != "" {
				p.Log.add(strings.TrimSuffix(line, "\n"))
			}
			if err != nil {
				return
			}
		}
	}()
	go func() {
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// Pid of the process that was started; it may have ended.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Exited is closed when the process has ended and was waited for.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Err says how the process ended, as exec.Cmd.Wait does. Only after Exited.
func (p *Process) Err() error {
	<-p.exited
	return p.err
}

// Signal sends a signal; none to a process that has ended.
func (p *Process) Signal(s syscall.Signal) error {
	err := p.cmd.Process.Signal(s)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// Kill sends SIGKILL and waits for the end.
func (p *Process) Kill() error {
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.exited
	return nil
}

// Terminate sends SIGTERM and waits for the end, which must be a success.
func (p *Process) Terminate(ctx context.Context) error {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.exited:
	case <-ctx.Done():
		return fmt.Errorf("%s did not end after SIGTERM: %w", p.Name, ctx.Err())
	}
	if p.err != nil {
		return fmt.Errorf("%s after SIGTERM: %w", p.Name, p.err)
	}
	return nil
}

// WaitLog waits for a line for which match is true, from the start of the log.
func (p *Process) WaitLog(ctx context.Context, what string, match func(Line) bool) (Line, error) {
	for from := 0; ; {
		lines, more := p.Log.after(from)
		for _, l := range lines {
			if match(l) {
				return l, nil
			}
		}
		from += len(lines)
		select {
		case <-more:
		case <-p.exited:
			select {
			case <-more: // its last words may still be on their way here
				continue
			case <-time.After(time.Second):
			}
			return Line{}, fmt.Errorf("%s ended (%v) before it logged %s:\n%s", p.Name, p.err, what, p.Log.Tail(20))
		case <-ctx.Done():
			return Line{}, fmt.Errorf("%s did not log %s: %w\n%s", p.Name, what, ctx.Err(), p.Log.Tail(20))
		}
	}
}

// ours says whether a running process was started by this harness, or by what it started.
func ours(pid int) bool {
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	return err == nil && strings.Contains(string(env), mark)
}

// adoptOrphans makes this process the parent of those whose parent ends, so that a
// gateway which upgraded itself can be waited for.
func adoptOrphans() error {
	return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
}

// gone reaps an adopted process and says whether it is no more.
func gone(pid int) bool {
	reaped, err := syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
	return reaped == pid || errors.Is(err, syscall.ECHILD) && !ours(pid)
}
