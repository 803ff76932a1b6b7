package systemd

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPassedSocketStandsForAddress(t *testing.T) {
	for _, tt := range []struct {
		bound, address string // with the port left out
		want           bool
	}{
		{"127.0.0.1", "127.0.0.1:%d", true},
		{"127.0.0.1", ":%d", false},
		{"127.0.0.1", "[::1]:%d", false},
		{"127.0.0.1", "127.0.0.1:0", false},
		{"0.0.0.0", ":%d", true},
		{"0.0.0.0", "0.0.0.0:%d", true},
		{"0.0.0.0", "127.0.0.1:%d", false},
		{"::", ":%d", true},
		{"::", "[::]:%d", true},
		{"::1", "[::1]:%d", true},
		{"::1", "nonsense", false},
		{"::", "0.0.0.0:%d", true},
	} {
		l, err := net.Listen("tcp", net.JoinHostPort(tt.bound, "0"))
		if err != nil {
			t.Fatal(err)
		}
		address := tt.address
		if strings.Contains(address, "%d") {
			address = fmt.Sprintf(address, l.Addr().(*net.TCPAddr).Port)
		}
		s := &socket{listener: l.(*net.TCPListener)}
		if got := s.at(address); got != tt.want {
			t.Errorf("socket %v, address %s: %v", l.Addr(), address, got)
		}
		_ = l.Close()
	}
}

func TestPassedSockets(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	bind := func(string, string) (net.Listener, error) { return nil, errors.New("bound") }
	for _, tt := range []struct{ name, option, fault string }{
		{"listen", "listen", ""},
		{"holdfast.socket", "listen", ""},
		{"", "listen", ""},
		{"listen-tls", "listen", "passed it for -listen-tls"},
		{"listen", "listen-tls", "passed it for -listen"},
	} {
		all := Sockets{{name: tt.name, listener: l.(*net.TCPListener)}}
		if _, err := all.Or(tt.option, bind)("tcp", "127.0.0.1:1"); err == nil || err.Error() != "bound" {
			t.Errorf("another address is not bound: %v", err)
		}
		if err := all.Unused(); err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
			t.Errorf("a socket that nobody took: %v", err)
		}
		got, err := all.Or(tt.option, bind)("tcp", l.Addr().String())
		switch {
		case tt.fault != "":
			if err == nil || !strings.Contains(err.Error(), tt.fault) {
				t.Errorf("%q for %s: %v", tt.name, tt.option, err)
			}
		case err != nil || got != l:
			t.Errorf("%q for %s: %v, %v", tt.name, tt.option, got, err)
		default:
			if err := all.Unused(); err != nil {
				t.Error(err)
			}
		}
	}
}

// Variables that were meant for another process, and nonsense.
func TestTakePassed(t *testing.T) {
	for _, tt := range []struct {
		pid, count string
		fault      bool
	}{
		{"1", "1", false},
		{"", "", false},
		{strconv.Itoa(os.Getpid()), "0", false},
		{strconv.Itoa(os.Getpid()), "many", true},
		{strconv.Itoa(os.Getpid()), "-1", true},
	} {
		t.Setenv("LISTEN_PID", tt.pid)
		t.Setenv("LISTEN_FDS", tt.count)
		t.Setenv("LISTEN_FDNAMES", "listen")
		all, err := TakeSockets()
		if len(all) != 0 || (err != nil) != tt.fault {
			t.Errorf("%+v: %v, %v", tt, all, err)
		}
		if _, set := os.LookupEnv("LISTEN_FDS"); set {
			t.Error("LISTEN_FDS is still set")
		}
	}
}

func TestTakeListener(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	got, err := takeListener(fd)
	if err != nil || got.Addr().String() != l.Addr().String() {
		t.Fatal(got, err)
	}
	_ = got.Close()

	var p [2]int
	if err := unix.Pipe(p[:]); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(p[1]) }()
	if l, err := takeListener(p[0]); err == nil {
		t.Errorf("a pipe listens: %v", l)
	}
	u, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	if l, err := takeListener(u); err == nil {
		t.Errorf("a Unix socket is one for chargers: %v", l)
	}
}
