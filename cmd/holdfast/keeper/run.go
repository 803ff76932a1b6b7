package keeper

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/unixipc/keep"
)

// Options of a keeper.
type Options struct {
	Socket  string        // where gateways reach it
	KeepFor time.Duration // how long everything is kept for nobody; 0: 60 s
	Log     *slog.Logger
}

const (
	defaultKeepFor = time.Minute
	// statusInterval is how often the service manager hears of a changed count.
	statusInterval = 5 * time.Second
)

// Run keeps until it is told to end.
func Run(o Options) error {
	if o.KeepFor == 0 {
		o.KeepFor = defaultKeepFor
	}
	program, err := ownPath()
	if err != nil {
		return err
	}
	p := &process{Options: o, program: program, manager: newNotifier()}
	// Before anything that takes time: from here on a SIGHUP does not kill.
	if err := p.catchSignals(); err != nil {
		return err
	}
	if p.keeper, err = begin(o); err != nil {
		return err
	}
	defer func() { _ = p.keeper.Close() }()
	return p.serve()
}

// begin continues what the program before has kept, or begins with nothing.
func begin(o Options) (*keep.Keeper, error) {
	options := keep.Options{KeepFor: o.KeepFor, Log: o.Log}
	k, err := keep.Resume(options)
	switch {
	case err != nil:
		o.Log.Error("keeper: begins with nothing", "error", err)
	case k != nil:
		o.Log.Info("keeper: goes on with another program", "kept", k.Kept(), "owner", k.Owner(), "socket", k.Path())
		if k.Path() != o.Socket {
			o.Log.Warn("keeper: another socket is configured now; that takes a restart", "socket", k.Path(), "configured", o.Socket)
		}
		return k, nil
	}
	if k, err = keep.Listen(o.Socket, options); err != nil {
		return nil, fmt.Errorf("keeper: %w", err)
	}
	o.Log.Info("keeper: listens", "socket", o.Socket, "keep-for", o.KeepFor.String())
	return k, nil
}

// ownPath is where this program is, or one that has replaced it; a program that was
// replaced has another name in /proc.
func ownPath() (string, error) {
	path, err := exec.LookPath(os.Args[0])
	if err != nil && !errors.Is(err, exec.ErrDot) {
		return "", fmt.Errorf("keeper: own path: %w", err)
	}
	return filepath.Abs(path)
}

// process is what serves.
type process struct {
	Options
	program string
	keeper  *keep.Keeper
	manager notifier

	signals chan os.Signal
	wake    int // a byte for each signal, its number

	told    string // the last status
	toldAt  time.Time
	trouble string // why it could not replace itself, the last time
}

func (p *process) catchSignals() error {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return fmt.Errorf("keeper: pipe: %w", err)
	}
	p.wake, p.signals = pipe[0], make(chan os.Signal, 4)
	signal.Notify(p.signals, unix.SIGHUP, unix.SIGTERM, unix.SIGINT)
	go func() {
		for s := range p.signals {
			_, _ = unix.Write(pipe[1], []byte{byte(s.(unix.Signal))}) // full: there are enough
		}
	}()
	return nil
}

func (p *process) serve() error {
	p.tell("READY=1", p.status())
	for {
		limit := time.Hour
		if p.status() != p.told {
			limit = p.statusDue()
		}
		woken, err := p.keeper.Turn(p.wake, limit)
		if err != nil {
			return fmt.Errorf("keeper: %w", err)
		}
		if woken {
			switch s := p.signal(); s {
			case unix.SIGTERM, unix.SIGINT:
				p.tell("STOPPING=1")
				p.Log.Info("keeper: ends", "signal", s.String(), "kept", p.keeper.Kept())
				return nil
			case unix.SIGHUP:
				p.replace()
			}
		}
		if s := p.status(); s != p.told && p.statusDue() <= 0 {
			p.tell(s)
		}
	}
}

// signal is the next signal, or 0. One that ends the process comes before others.
func (p *process) signal() unix.Signal {
	var b [64]byte
	n, _ := unix.Read(p.wake, b[:])
	var last unix.Signal
	for _, s := range b[:max(0, n)] {
		if last = unix.Signal(s); last != unix.SIGHUP {
			return last
		}
	}
	return last
}

// replace executes the program that is at its path now. It returns only if that fails.
func (p *process) replace() {
	p.tell("RELOADING=1", monotonic(), "STATUS=replacing itself")
	p.Log.Info("keeper: replaces itself", "program", p.program, "kept", p.keeper.Kept())
	// What is ignored stays ignored in the new program until it catches it; another SIGHUP
	// meanwhile would kill it.
	signal.Ignore(unix.SIGHUP)
	err := p.keeper.Exec(p.program, os.Args)
	signal.Notify(p.signals, unix.SIGHUP)
	p.Log.Error("keeper: could not replace itself, and goes on as it is", "error", err)
	p.trouble = "could not replace itself at " + time.Now().Format(time.TimeOnly) + ": " + err.Error()
	p.tell("READY=1", p.status())
}

func (p *process) status() string {
	s := fmt.Sprintf("STATUS=keeps %d connections", p.keeper.Kept())
	if pid := p.keeper.Owner(); pid != 0 {
		s += fmt.Sprintf(" of process %d", pid)
	} else {
		s += " for nobody"
	}
	if p.trouble != "" {
		s += "; " + p.trouble
	}
	return s
}

// statusDue is how long it is until the status may be told again.
func (p *process) statusDue() time.Duration { return time.Until(p.toldAt.Add(statusInterval)) }

// tell tells the service manager; a manager that does not listen is no reason to end.
func (p *process) tell(lines ...string) {
	if err := p.manager.send(lines...); err != nil {
		p.Log.Warn("keeper: service manager", "error", err)
	}
	p.told, p.toldAt = lines[len(lines)-1], time.Now()
}
