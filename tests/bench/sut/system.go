package sut

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"holdfast/tests/bench/procfs"
	"holdfast/tests/pki"
)

// Programs are the paths of what is started.
type Programs struct {
	Holdfast     string
	HoldfastArgs []string // added to serve's
	Echo         string
	Bridge       string // cmd/holdfast-bridge: all systems are before a central system of their own
	Nginx        string
	TLS          bool // wss instead of ws
}

// System is one thing to measure: a few processes that answer chargers.
type System struct {
	Name  string
	Addr  string // host:port for chargers
	parts []*Process

	programs Programs // what its gateway was started with
	core     int
	dir      string
}

// Names of the systems, in the order of a table.
var Names = []string{"holdfast", "kept", "sdk", "nginx", "bare"}

// central starts a central system.
func (s *System) central(programs Programs, core int, dir string) (addr string, err error) {
	p, err := s.run("echo", core, dir, programs.Echo, "-mode", "central", "-listen", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return p.waitLine("ready", nil)
}

// Start starts the system of that name on core, with its files in dir.
func Start(name string, programs Programs, core int, dir string) (*System, error) {
	dir, err := os.MkdirTemp(dir, name+"-")
	if err != nil {
		return nil, err
	}
	s := &System{Name: name}
	switch name {
	case "holdfast":
		err = s.holdfast(programs, core, dir, "processor")
	case "kept":
		err = s.kept(programs, core, dir)
	case "sdk":
		err = s.holdfast(programs, core, dir, "sdk")
	case "nginx":
		err = s.nginx(programs, core, dir)
	case "bare":
		err = s.bare(programs, core, dir)
	default:
		err = fmt.Errorf("no system %q, only %q", name, Names)
	}
	if err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

func (s *System) run(name string, core int, dir string, args ...string) (*Process, error) {
	p, err := start(name, core, dir, args...)
	if err == nil {
		s.parts = append(s.parts, p)
	}
	return p, err
}

// PIDs of all processes, nginx's workers included.
func (s *System) PIDs() ([]int, error) {
	var pids []int
	for _, p := range s.parts {
		children, err := procfs.Children(p.PID())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Name, err)
		}
		pids = append(append(pids, p.PID()), children...)
	}
	return pids, nil
}

// Stop ends all processes, those that were started last first.
func (s *System) Stop() {
	for _, p := range slices.Backward(s.parts) {
		p.Stop()
	}
}

// certificate makes one for a server, ECDSA P-256.
func certificate(dir string) (cert, key string, err error) {
	a, err := pki.NewAuthority("benchmark")
	if err != nil {
		return "", "", err
	}
	pair, err := a.Issue(pki.Request{CommonName: "gateway", Names: []string{"127.0.0.1"}})
	if err != nil {
		return "", "", err
	}
	return pair.Write(dir, "server")
}

func (s *System) bare(programs Programs, core int, dir string) error {
	if programs.TLS {
		return errors.New("the bare echo has no TLS")
	}
	p, err := s.run("echo", core, dir, programs.Echo, "-mode", "tcp", "-listen", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.Addr, err = p.waitLine("ready", nil)
	return err
}

func (s *System) holdfast(programs Programs, core int, dir, mode string) error {
	s.programs, s.core, s.dir = programs, core, dir
	gateway, err := StartGateway(programs, core, dir)
	if err != nil {
		return err
	}
	s.parts, s.Addr = append(s.parts, gateway.Process), gateway.Addr
	if programs.Bridge != "" {
		addr, err := s.central(programs, core, dir)
		if err != nil {
			return err
		}
		p, err := s.run("holdfast-bridge", core, dir, programs.Bridge, "-socket", gateway.Socket, "-log-format", "json",
			"-dial-rate", "10000", "-route", "* ws://"+addr+"/ocpp/{identity}")
		if err != nil {
			return err
		}
		_, err = p.waitLine("msg", func(line map[string]any) bool { return line["msg"] == "joined" })
		return err
	}
	p, err := s.run("processor", core, dir, programs.Echo, "-mode", mode, "-socket", gateway.Socket)
	if err != nil {
		return err
	}
	if mode == "sdk" {
		_, err = p.waitLine("msg", func(line map[string]any) bool { return line["msg"] == "joined" })
	} else {
		_, err = p.waitLine("ready", nil)
	}
	return err
}

// kept is Holdfast with a keeper, on the same core.
func (s *System) kept(programs Programs, core int, dir string) error {
	socket := filepath.Join(dir, "keeper.sock")
	p, err := s.run("keeper", core, dir, programs.Holdfast, "keep", "-socket", socket, "-log-format", "json")
	if err != nil {
		return err
	}
	if _, err = p.waitLine("msg", func(line map[string]any) bool { return line["msg"] == "keeper: listens" }); err != nil {
		return err
	}
	programs.HoldfastArgs = append(slices.Clone(programs.HoldfastArgs), "-keeper", socket)
	return s.holdfast(programs, core, dir, "processor")
}

// Crash kills the gateway with SIGKILL, and starts it again after a pause, such as a
// service manager makes.
func (s *System) Crash(pause time.Duration) error {
	for i, p := range s.parts {
		if p.name != "holdfast" {
			continue
		}
		_ = p.cmd.Process.Kill()
		<-p.done
		time.Sleep(pause)
		gateway, err := StartGateway(s.programs, s.core, s.dir)
		if err != nil {
			return err
		}
		s.parts[i] = gateway.Process
		return nil
	}
	return errors.New("there is no gateway to crash")
}

// Gateway is a running Holdfast without a processor.
type Gateway struct {
	*Process
	Addr   string
	Socket string // for processors
}

// StartGateway starts Holdfast alone.
func StartGateway(programs Programs, core int, dir string) (*Gateway, error) {
	path, err := program(programs.Holdfast, "build it with make, or say -holdfast PATH")
	if err != nil {
		return nil, err
	}
	g := &Gateway{Socket: filepath.Join(dir, "processors.sock")}
	args := []string{
		path, "serve", "-processors", g.Socket, "-pid-file", filepath.Join(dir, "pid"), "-log-format", "json",
	}
	if programs.TLS {
		cert, key, err := certificate(dir)
		if err != nil {
			return nil, err
		}
		args = append(args, "-listen", "none", "-listen-tls", "127.0.0.1:0", "-tls-cert", cert, "-tls-key", key)
	} else {
		args = append(args, "-listen", "127.0.0.1:0")
	}
	if g.Process, err = start("holdfast", core, dir, append(args, programs.HoldfastArgs...)...); err != nil {
		return nil, err
	}
	g.Addr, err = g.waitLine("addr", func(line map[string]any) bool { return line["msg"] == "listening" })
	if err != nil {
		g.Stop()
		return nil, err
	}
	return g, nil
}

// Alive reports whether no process of the system has ended, and which one has.
func (s *System) Alive() error {
	for _, p := range s.parts {
		select {
		case <-p.done:
			return fmt.Errorf("%s of %s ended: %v\n%s", p.name, s.Name, p.cmd.ProcessState, p.tail())
		default:
		}
	}
	return nil
}

// PID returns the process of a part, by its name; 0: there is none.
func (s *System) PID(name string) int {
	for _, p := range s.parts {
		if p.name == name {
			return p.PID()
		}
	}
	return 0
}
