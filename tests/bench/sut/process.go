// Package sut starts and ends the systems under test: Holdfast with a processor,
// nginx with a Unix echo, and the bare echo.
//
// It does not start them by tests/harness: a system under test is pinned to a core, its
// output goes to a file so that nothing reads along while it is measured, and it ends
// with the benchmark even if that is killed.
package sut

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// startTimeout bounds how long a process may take until it is ready, and endTimeout
// how long until it has gone after SIGTERM.
const (
	startTimeout = 15 * time.Second
	endTimeout   = 5 * time.Second
)

// Process is a program that this one started and will end.
type Process struct {
	name string
	cmd  *exec.Cmd
	logs string // file of its stdout and stderr
	done chan struct{}
}

// start runs a program on one core. Its output goes to a file in dir. taskset
// replaces itself by the program, so the process id is the program's.
func start(name string, core int, dir string, args ...string) (*Process, error) {
	p := &Process{name: name, logs: filepath.Join(dir, name+".log"), done: make(chan struct{})}
	logs, err := os.OpenFile(p.logs, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer logs.Close()
	p.cmd = exec.Command("taskset", append([]string{"-c", strconv.Itoa(core)}, args...)...)
	p.cmd.Stdout, p.cmd.Stderr = logs, logs
	// Should this program die, what it started goes too.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// PID of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Logs is the file with everything it wrote.
func (p *Process) Logs() string { return p.logs }

// Stop ends the process with SIGTERM and waits for it.
func (p *Process) Stop() {
	if p == nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(endTimeout):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// wait polls until ready returns true.
func (p *Process) wait(ready func() bool) error {
	for deadline := time.Now().Add(startTimeout); ; time.Sleep(10 * time.Millisecond) {
		if ready() {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended: %v\n%s", p.name, p.cmd.ProcessState, p.tail())
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s is not ready after %v\n%s", p.name, startTimeout, p.tail())
		}
	}
}

// waitLine waits for a JSON line in the logs with a string in the field, and
// with match, which may be nil, satisfied; it returns the string.
func (p *Process) waitLine(field string, match func(line map[string]any) bool) (value string, err error) {
	err = p.wait(func() bool {
		b, err := os.ReadFile(p.logs)
		if err != nil {
			return false
		}
		for line := range bytes.Lines(b) {
			var m map[string]any
			if json.Unmarshal(line, &m) != nil || match != nil && !match(m) {
				continue
			}
			if s, ok := m[field].(string); ok {
				value = s
				return true
			}
		}
		return false
	})
	return value, err
}

func (p *Process) tail() string {
	b, err := os.ReadFile(p.logs)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-2000):])
}

// program finds a program by path or name, and says what to do if there is none.
func program(name, hint string) (string, error) {
	path, err := exec.LookPath(name)
	if errors.Is(err, exec.ErrDot) {
		err = nil
	}
	if err != nil {
		return "", fmt.Errorf("%s is missing: %s (%w)", name, hint, err)
	}
	return filepath.Abs(path)
}
