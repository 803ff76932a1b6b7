package keeper

import (
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/unixipc/keep"
)

const patience = 20 * time.Second

// The test binary is the keeper when it is told so.
func TestMain(m *testing.M) {
	socket := os.Getenv("KEEPER_TEST_SOCKET")
	if socket == "" {
		os.Exit(m.Run())
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := Run(Options{Socket: socket, Log: log}); err != nil {
		log.Error("ended", "error", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// rig is a keeper's process under a service manager.
type rig struct {
	t       *testing.T
	program string
	socket  string
	manager *net.UnixConn
	cmd     *exec.Cmd
}

func start(t *testing.T) *rig {
	dir := t.TempDir()
	r := &rig{t: t, program: filepath.Join(dir, "holdfast"), socket: filepath.Join(dir, "keeper.sock")}
	r.install()
	var err error
	notify := filepath.Join(dir, "notify")
	if r.manager, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: notify, Net: "unixgram"}); err != nil {
		t.Fatal(err)
	}
	r.cmd = exec.Command(r.program)
	r.cmd.Env = append(os.Environ(), "KEEPER_TEST_SOCKET="+r.socket, "NOTIFY_SOCKET="+notify)
	r.cmd.Stderr = os.Stderr
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = r.cmd.Process.Kill()
		_ = r.cmd.Wait()
		_ = r.manager.Close()
	})
	r.hear("READY=1\nSTATUS=keeps 0 connections for nobody")
	return r
}

// install puts a copy of the test binary where the program is.
func (r *rig) install() {
	r.t.Helper()
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = from.Close() }()
	to, err := os.OpenFile(r.program+".new", os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := io.Copy(to, from); err != nil {
		r.t.Fatal(err)
	}
	if err := to.Close(); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(r.program+".new", r.program); err != nil {
		r.t.Fatal(err)
	}
}

// hear waits until the manager is told something.
func (r *rig) hear(want string) string {
	r.t.Helper()
	_ = r.manager.SetReadDeadline(time.Now().Add(patience))
	b := make([]byte, 4096)
	n, err := r.manager.Read(b)
	if err != nil {
		r.t.Fatalf("waiting for %q: %v", want, err)
	}
	if got := string(b[:n]); !strings.Contains(got, want) {
		r.t.Fatalf("the manager hears %q, want %q", got, want)
	}
	return string(b[:n])
}

func (r *rig) signal(s os.Signal) {
	r.t.Helper()
	if err := r.cmd.Process.Signal(s); err != nil {
		r.t.Fatal(err)
	}
}

// executes is the inode that the process executes.
func (r *rig) executes() uint64 {
	r.t.Helper()
	var s unix.Stat_t
	if err := unix.Stat("/proc/"+strconv.Itoa(r.cmd.Process.Pid)+"/exe", &s); err != nil {
		r.t.Fatal(err)
	}
	return s.Ino
}

// pair is a socket to be kept and its peer.
func pair(t *testing.T) (kept, peer int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = unix.Close(fds[0]), unix.Close(fds[1]) })
	return fds[0], fds[1]
}

func TestRelease(t *testing.T) {
	r := start(t)
	o, _, err := keep.Claim(r.socket, patience)
	if err != nil {
		t.Fatal(err)
	}
	kept, peer := pair(t)
	if n, err := o.Put([]keep.Item{{ID: 7, FD: kept}}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	memory, err := unix.MemfdCreate("state", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(memory) }()
	if err := o.Valid(memory); err != nil {
		t.Fatal(err)
	}
	r.hear("STATUS=keeps 1 connections of process " + strconv.Itoa(os.Getpid()))

	before := r.executes()
	r.install()
	r.signal(unix.SIGHUP)
	if told := r.hear("RELOADING=1\nMONOTONIC_USEC="); !strings.Contains(told, "STATUS=") {
		t.Errorf("told %q", told)
	}
	r.hear("READY=1\nSTATUS=keeps 1 connections of process " + strconv.Itoa(os.Getpid()))
	if r.executes() == before {
		t.Error("it executes the program of before")
	}
	if err := o.Err(); err != nil {
		t.Fatalf("the owner's connection: %v", err)
	}

	// A program that is not there.
	if err := os.Remove(r.program); err != nil {
		t.Fatal(err)
	}
	r.signal(unix.SIGHUP)
	r.hear("RELOADING=1")
	r.hear("keeps 1 connections of process " + strconv.Itoa(os.Getpid()) + "; could not replace itself")
	if err := o.Err(); err != nil {
		t.Fatalf("the owner's connection: %v", err)
	}
	// And one that is there again.
	r.install()
	r.signal(unix.SIGHUP)
	r.hear("RELOADING=1")
	r.hear("READY=1\nSTATUS=keeps 1 connections")
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	o, in, err := keep.Claim(r.socket, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if len(in.Items) != 1 || in.Items[0].ID != 7 || in.Memory < 0 {
		t.Fatalf("inherited %+v", in)
	}
	if _, err := unix.Write(peer, []byte("x")); err != nil {
		t.Fatal(err)
	}
	var b [1]byte
	if n, err := unix.Read(in.Items[0].FD, b[:]); n != 1 || b[0] != 'x' {
		t.Fatal(n, err)
	}

	// Its end ends no connection.
	r.signal(unix.SIGTERM)
	if err := r.cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(r.socket); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
	if err := o.Err(); err != keep.ErrGone {
		t.Errorf("the owner learns: %v", err)
	}
	_ = o.Close()
	if _, err := unix.Write(peer, []byte("y")); err != nil {
		t.Fatal(err)
	}
	if n, err := unix.Read(kept, b[:]); n != 1 || b[0] != 'y' {
		t.Fatal(n, err)
	}
}

// A burst of SIGHUP does not kill.
func TestReleasesInARow(t *testing.T) {
	r := start(t)
	for range 200 {
		r.signal(unix.SIGHUP)
		time.Sleep(time.Millisecond)
	}
	deadline := time.Now().Add(patience)
	for {
		o, in, err := keep.Claim(r.socket, patience)
		if err == nil {
			in.Close()
			_ = o.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func TestSecondKeeper(t *testing.T) {
	r := start(t)
	err := Run(Options{Socket: r.socket, Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "taken by the live process "+strconv.Itoa(r.cmd.Process.Pid)) {
		t.Fatalf("a second keeper: %v", err)
	}
	// A keeper that was killed leaves its socket to the next.
	r.signal(unix.SIGKILL)
	_ = r.cmd.Wait()
	k, err := keep.Listen(r.socket, keep.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	_ = k.Close()
}
