package systemd

import (
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// serviceManager is the other end of NOTIFY_SOCKET.
func serviceManager(t *testing.T, address string) *net.UnixConn {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	t.Setenv("NOTIFY_SOCKET", address)
	return c
}

// heard is one datagram, and the file descriptors that came with it.
func heard(t *testing.T, c *net.UnixConn) (text string, fds []int) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf, oob := make([]byte, 4096), make([]byte, 256)
	n, oobn, _, _, err := c.ReadMsgUnix(buf, oob)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := syscall.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		rights, err := unix.ParseUnixRights(&unix.SocketControlMessage{Header: unix.Cmsghdr(m.Header), Data: m.Data})
		if err != nil {
			t.Fatal(err)
		}
		fds = append(fds, rights...)
	}
	return string(buf[:n]), fds
}

func TestNotify(t *testing.T) {
	for _, address := range []string{filepath.Join(t.TempDir(), "notify"), "@holdfast-" + filepath.Base(t.TempDir()) + t.Name() + time.Now().String()} {
		manager := serviceManager(t, address)
		n := newNotifier()
		if err := n.send("READY=1", "STATUS=two\nlines"); err != nil {
			t.Fatal(err)
		}
		if text, _ := heard(t, manager); text != "READY=1\nSTATUS=two lines" {
			t.Errorf("heard %q", text)
		}
	}
}

// A barrier is over when the manager has got that far, and not before.
func TestBarrier(t *testing.T) {
	manager := serviceManager(t, filepath.Join(t.TempDir(), "notify"))
	n := newNotifier()
	if err := n.barrier(20 * time.Millisecond); err == nil || !strings.Contains(err.Error(), "nobody has listened") {
		t.Errorf("of a manager that sleeps: %v", err)
	}
	if _, fds := heard(t, manager); len(fds) != 1 {
		t.Fatalf("%d file descriptors", len(fds))
	} else if err := unix.Close(fds[0]); err != nil {
		t.Fatal(err)
	}
	over := make(chan error)
	go func() { over <- n.barrier(10 * time.Second) }()
	text, fds := heard(t, manager)
	if text != "BARRIER=1" || len(fds) != 1 {
		t.Fatalf("heard %q with %d file descriptors", text, len(fds))
	}
	select {
	case err := <-over:
		t.Fatal("over too soon", err)
	default:
	}
	if err := unix.Close(fds[0]); err != nil {
		t.Fatal(err)
	}
	if err := <-over; err != nil {
		t.Error(err)
	}
}

// Nobody, or nobody any more, listens: the gateway serves all the same.
func TestNotifyNobody(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if err := newNotifier().send("READY=1"); err != nil {
		t.Error(err)
	}
	if err := newNotifier().barrier(time.Hour); err != nil {
		t.Error(err)
	}
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "none"))
	if err := newNotifier().send("READY=1"); err == nil || !strings.Contains(err.Error(), "NOTIFY_SOCKET") {
		t.Errorf("of a socket that is none: %v", err)
	}
}

// The watchdog is fed while all loops turn, and only then.
func TestWatchdog(t *testing.T) {
	manager := serviceManager(t, filepath.Join(t.TempDir(), "notify"))
	t.Setenv("WATCHDOG_USEC", "80000") // fed each 20 ms
	var held atomic.Int64
	about := Process{Version: "1", Chargers: held.Load, Links: func() int64 { return 0 }}
	var loops [2]chan func()
	for n := range loops {
		loop := make(chan func(), 16)
		loops[n] = loop
		about.Loops = append(about.Loops, func(f func()) { loop <- f })
		go func() {
			for f := range loop {
				f()
			}
		}()
	}
	var log lines
	w := NewReporter(about, slog.New(slog.NewTextHandler(&log, nil)))
	go w.Run()
	for fed := 0; fed < 5; {
		if text, _ := heard(t, manager); strings.Contains(text, "WATCHDOG=1") {
			fed++
		}
	}
	stuck, thaw := make(chan struct{}), make(chan struct{})
	loops[1] <- func() { close(stuck); <-thaw }
	<-stuck
	// Counts that change are still told: so time passes without a clock.
	fed := 0
	for told := int64(1); told <= 5; {
		held.Store(told)
		text, _ := heard(t, manager)
		if strings.Contains(text, "WATCHDOG=1") {
			fed++
		}
		if strings.Contains(text, w.status()) {
			told++
		}
	}
	if fed > 2 { // what was asked before may still be answered
		t.Errorf("fed %d times while a loop was stuck", fed)
	}
	close(thaw)
	if !strings.Contains(log.String(), "a loop stands still") || !strings.Contains(log.String(), "TestWatchdog.func") {
		t.Errorf("the log does not say where the loop stands: %s", log.String())
	}
	for fed := false; !fed; {
		text, _ := heard(t, manager)
		fed = strings.Contains(text, "WATCHDOG=1")
	}
}

// lines is a log that others write to.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestWatchdogInterval(t *testing.T) {
	for _, tt := range []struct {
		socket, usec string
		want         time.Duration
	}{
		{"/run/x", "20000000", 20 * time.Second},
		{"/run/x", "", 0},
		{"/run/x", "soon", 0},
		{"/run/x", "-1", 0},
		{"", "20000000", 0},
	} {
		t.Setenv("NOTIFY_SOCKET", tt.socket)
		t.Setenv("WATCHDOG_USEC", tt.usec)
		if got := watchdogInterval(); got != tt.want {
			t.Errorf("%q, %q: %v, want %v", tt.socket, tt.usec, got, tt.want)
		}
	}
}
