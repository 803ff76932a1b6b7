package killat

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The test binary is killat, and what it runs, when it is told so.
func TestMain(m *testing.M) {
	switch {
	case os.Getenv("KILLAT_TEST") == "":
		os.Exit(m.Run())
	case len(os.Args) > 1 && os.Args[1] == "program":
		program()
	default:
		if err := Main([]string{"program"}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(0)
}

// program sends a, b and c when it is told to, and then waits.
func program() {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: os.Getenv("KILLAT_TEST")})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var b [1]byte
	_, _ = unix.Read(fd, b[:])
	for _, c := range "abc" {
		_ = unix.Sendto(fd, []byte{byte(c)}, 0, nil)
	}
	_, _ = unix.Read(fd, b[:])
}

// What a call was to do is done if the kill came after it, and not if it came before.
func TestKill(t *testing.T) {
	const kind = "sendto (processor)"
	for _, tt := range []struct {
		order    Order
		received string
	}{
		{Order{When: Before, Kind: kind, N: 1}, ""},
		{Order{When: After, Kind: kind, N: 1}, "a"},
		{Order{When: Behind, Kind: kind, N: 1}, "a"},
		{Order{When: Before, Kind: kind, N: 3}, "ab"},
		{Order{When: After, Kind: kind, N: 3}, "abc"},
		{Order{When: Behind, Kind: kind, N: 3}, "abc"},
	} {
		for range 3 {
			received, k := kill(t, tt.order)
			if received != tt.received || k.Kind() != kind || k.Nth != tt.order.N || k.When != tt.order.When || k.Made == (k.When == Before) {
				t.Fatalf("%+v: received %q, killed %+v", tt.order, received, k)
			}
			if k.When == Behind && (!k.Next || len(k.Path) < 10 || len(k.Path) != k.Steps+1) {
				t.Fatalf("%d steps, %d instructions to the next call: %v", k.Steps, len(k.Path), k.Next)
			}
		}
	}
}

// A step of a path is found again.
func TestKillAtAnInstruction(t *testing.T) {
	o := Order{When: Behind, Kind: "sendto (processor)", N: 2}
	_, all := kill(t, o)
	for step := 0; step < len(all.Path); step += 1 + len(all.Path)/8 {
		o.At, o.Times = all.Path[step], 0
		for _, pc := range all.Path[:step+1] {
			if pc == o.At {
				o.Times++
			}
		}
		received, k := kill(t, o)
		if received != "ab" || !k.Next && k.Path[0] != o.At {
			t.Fatalf("step %d: received %q, killed %+v", step, received, k)
		}
	}
}

// kill runs the program, and returns what it sent, and how it ended.
func kill(t *testing.T, o Order) (received string, k *Killed) {
	t.Helper()
	dir := t.TempDir()
	control, err := net.Listen("unix", filepath.Join(dir, "control"))
	if err != nil {
		t.Fatal(err)
	}
	defer control.Close()
	peer, err := net.Listen("unix", filepath.Join(dir, "peer"))
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), Socket+"="+control.Addr().String(), Binary+"=/proc/self/exe", "KILLAT_TEST="+peer.Addr().String())
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	nc, err := control.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	c := NewControl(nc)
	defer c.Close()
	report := func() (r Report) {
		if err := c.Receive(&r); err != nil {
			t.Fatal(err)
		}
		if r.Err != "" {
			t.Skip("ptrace is not permitted here: ", r.Err)
		}
		return r
	}
	send := func(o Order) {
		if err := c.Send(o); err != nil {
			t.Fatal(err)
		}
	}
	report()
	send(Order{})
	sock, err := peer.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer sock.Close()
	send(o)
	if !report().Armed {
		t.Fatal("not armed")
	}
	_, _ = sock.Write([]byte("x"))
	b, _ := io.ReadAll(sock)
	if k = report().Killed; k == nil {
		t.Fatal("not killed")
	}
	return string(b), k
}
