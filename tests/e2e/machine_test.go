package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// machine is a system that runs in a container, with systemd as its first process
// and a network of nothing but loopback. What is written there is gone with it.
type machine struct {
	t      *testing.T
	dir    string // of this machine, there as /e2e
	init   int    // its first process, as it is called here
	output *bytes.Buffer
}

// patience is for everything that should happen soon.
const patience = 30 * time.Second

// boot starts a machine that ends with the test.
func boot(t *testing.T) *machine {
	t.Helper()
	m := &machine{t: t, dir: t.TempDir(), output: new(bytes.Buffer)}
	// With cgroups as on any machine of today, whatever they are on this one.
	const unified = "mount --make-rprivate / && umount -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec \"$@\""
	cmd := exec.Command("unshare", "--mount", "--", "/bin/sh", "-c", unified, "sh", "systemd-nspawn", "--quiet", "--directory", root(t), "--volatile=overlay", "--boot",
		"--machine", fmt.Sprintf("holdfast-e2e-%d", os.Getpid()), "--register=no", "--keep-unit", "--private-network",
		"--link-journal=no", "--console=pipe", "--bind="+m.dir+":/e2e")
	cmd.Stdout, cmd.Stderr = m.output, m.output
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := m.try("journalctl --no-pager -o cat -n 40")
			t.Logf("the end of the machine's journal:\n%s", out)
		}
		if m.init != 0 {
			_ = syscall.Kill(m.init, syscall.SIGKILL) // and with it all of the machine
		} else {
			_ = cmd.Process.Kill()
		}
		<-ended
	})
	m.until("the first process", func() bool {
		select {
		case <-ended:
			t.Fatalf("the machine does not boot:\n%s", m.output)
		default:
		}
		m.init = systemdBelow(cmd.Process.Pid)
		return m.init != 0
	})
	m.until("systemd to be up", func() bool {
		out, _ := m.try("systemctl is-system-running")
		return strings.HasPrefix(out, "running") || strings.HasPrefix(out, "degraded")
	})
	return m
}

// systemdBelow is the child of a process that is systemd; 0 if there is none yet.
func systemdBelow(pid int) int {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	for _, child := range strings.Fields(string(b)) {
		comm, _ := os.ReadFile("/proc/" + child + "/comm")
		if strings.TrimSpace(string(comm)) == "systemd" {
			n, _ := strconv.Atoi(child)
			return n
		}
	}
	return 0
}

// try runs a shell command on the machine.
func (m *machine) try(format string, args ...any) (out string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nsenter", "--target", strconv.Itoa(m.init), "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup",
		"--root", "--wd", "--", "/bin/sh", "-c", fmt.Sprintf(format, args...))
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive", "SYSTEMD_PAGER="}
	b, err := cmd.CombinedOutput()
	return string(b), err
}

// do runs a shell command that must succeed.
func (m *machine) do(format string, args ...any) string {
	m.t.Helper()
	out, err := m.try(format, args...)
	if err != nil {
		m.t.Fatalf("%s: %v\n%s", fmt.Sprintf(format, args...), err, out)
	}
	return strings.TrimSpace(out)
}

// fails runs a shell command that must fail with an exit code.
func (m *machine) fails(format string, args ...any) string {
	m.t.Helper()
	out, err := m.try(format, args...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		m.t.Fatalf("%s does not fail: %v\n%s", fmt.Sprintf(format, args...), err, out)
	}
	return strings.TrimSpace(out)
}

func (m *machine) until(what string, condition func() bool) {
	m.t.Helper()
	for end := time.Now().Add(patience); !condition(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			m.t.Fatalf("waited %v for %s", patience, what)
		}
	}
}

// write writes a file of the machine.
func (m *machine) write(path, text string) {
	m.t.Helper()
	m.give("file", text)
	m.do("mkdir -p %s && cp /e2e/file %s", filepath.Dir(path), path)
}

// give puts a file into /e2e.
func (m *machine) give(name, text string) {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.dir, name), []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

// property is what systemd says of a unit.
func (m *machine) property(unit, name string) string {
	m.t.Helper()
	return m.do("systemctl show --value -p %s %s", name, unit)
}

// mainPID is the process that systemd takes for the gateway. It must be one of the
// gateway, and the only one of its cgroup.
func (m *machine) mainPID() int {
	m.t.Helper()
	pid, err := strconv.Atoi(m.property("holdfast", "MainPID"))
	if err != nil || pid == 0 {
		m.t.Fatalf("MainPID: %d, %v", pid, err)
	}
	if state := m.property("holdfast", "SubState"); state != "running" {
		m.t.Errorf("the service is %s", state)
	}
	// systemd's own hierarchy, whichever way cgroups are mounted.
	procs := m.do("for d in /sys/fs/cgroup /sys/fs/cgroup/systemd; do cat $d%s/cgroup.procs 2>/dev/null && exit; done; exit 1", m.property("holdfast", "ControlGroup"))
	if pids := strings.Fields(procs); !slices.Equal(pids, []string{strconv.Itoa(pid)}) {
		m.t.Errorf("MainPID is %d, and the cgroup holds %v", pid, pids)
	}
	if cmd := m.do("tr '\\0' ' ' </proc/%d/cmdline", pid); !strings.HasPrefix(cmd, "/usr/bin/holdfast serve") {
		m.t.Errorf("MainPID %d is %q", pid, cmd)
	}
	return pid
}
