package service

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/tests/harness"

	"golang.org/x/sys/unix"
)

// manager is the other end of NOTIFY_SOCKET.
type manager struct {
	t    *testing.T
	conn *net.UnixConn
	path string
}

func newManager(t *testing.T) *manager {
	t.Helper()
	m := &manager{t: t, path: filepath.Join(t.TempDir(), "notify")}
	var err error
	if m.conn, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.path, Net: "unixgram"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.conn.Close() })
	raw, err := m.conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1) }); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// env is what a process of the service has in its environment.
func (m *manager) env() []string { return []string{"NOTIFY_SOCKET=" + m.path} }

// message is one that a process has sent.
type message struct {
	pid   int
	lines []string
	fds   []int
}

func (m message) has(prefix string) bool {
	for _, l := range m.lines {
		if strings.HasPrefix(l, prefix) {
			return true
		}
	}
	return false
}

// next is the next message but for a status alone.
func (m *manager) next() (got message) {
	m.t.Helper()
	for {
		if err := m.conn.SetReadDeadline(time.Now().Add(harness.Deadline)); err != nil {
			m.t.Fatal(err)
		}
		buf, oob := make([]byte, 8192), make([]byte, 512)
		n, oobn, _, _, err := m.conn.ReadMsgUnix(buf, oob)
		if err != nil {
			m.t.Fatal(err)
		}
		got = message{lines: strings.Split(string(buf[:n]), "\n")}
		control, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err != nil {
			m.t.Fatal(err)
		}
		for _, c := range control {
			if cred, err := unix.ParseUnixCredentials(&c); err == nil {
				got.pid = int(cred.Pid)
			} else if fds, err := unix.ParseUnixRights(&c); err == nil {
				got.fds = fds
			}
		}
		if len(got.lines) > 1 || !got.has("STATUS=") {
			return got
		}
	}
}

// expect is the next message, which must begin with these lines and come from pid.
func (m *manager) expect(pid int, prefixes ...string) message {
	m.t.Helper()
	got := m.next()
	for _, p := range prefixes {
		if !got.has(p) {
			m.t.Fatalf("process %d told %q, want %s", got.pid, got.lines, p)
		}
	}
	if got.pid != pid {
		m.t.Fatalf("process %d told %q, not process %d", got.pid, got.lines, pid)
	}
	return got
}
