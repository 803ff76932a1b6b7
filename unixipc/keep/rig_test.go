package keep

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

const (
	roleEnv  = "KEEP_TEST_ROLE"  // gateway, or keeper
	filesEnv = "KEEP_TEST_FILES" // RLIMIT_NOFILE of it
)

// A test binary that has a role is another process of a test.
func TestMain(m *testing.M) {
	if n, err := strconv.ParseUint(os.Getenv(filesEnv), 10, 32); err == nil {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
			panic(err)
		}
	}
	switch os.Getenv(roleEnv) {
	case "gateway":
		beGateway()
	case "keeper":
		beKeeper()
	default:
		os.Exit(m.Run())
	}
	os.Exit(0)
}

// beKeeper keeps at the path of its argument. A byte of stdin that is x has it execute
// itself, a b a program that does not exist.
func beKeeper() {
	o := Options{KeepFor: time.Minute, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	k, err := Resume(o)
	if err != nil {
		fmt.Println("lost:", strings.ReplaceAll(err.Error(), "\n", " "))
	}
	if k == nil {
		if k, err = Listen(os.Args[1], o); err != nil {
			panic(err)
		}
	}
	fmt.Println("keeps", k.Kept())
	for {
		woken, err := k.Turn(0, time.Hour)
		if err != nil {
			panic(err)
		}
		if !woken {
			continue
		}
		var b [1]byte
		switch n, _ := unix.Read(0, b[:]); {
		case n != 1:
			os.Exit(0)
		case b[0] == 'x':
			panic(k.Exec("/proc/self/exe", os.Args))
		default:
			fmt.Println("failed:", k.Exec("/does/not/exist", os.Args))
		}
	}
}

// beGateway does what the lines of stdin say, and answers each with one.
func beGateway() {
	var o *Owner
	var in Inherited
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		verb, arg, _ := strings.Cut(lines.Text(), " ")
		answer, err := "", error(nil)
		switch verb {
		case "claim":
			if o, in, err = Claim(arg, patience); err == nil {
				answer = describe(in)
			}
		case "adopt":
			fd, _ := strconv.Atoi(arg)
			o, err = Adopt(fd)
		case "put":
			var n int
			items := parseItems(arg)
			if n, err = o.Put(items); err == nil && n < len(items) {
				err = fmt.Errorf("put only %d", n)
			}
		case "drop":
			var n int
			id, _ := strconv.ParseUint(arg, 10, 64)
			if n, err = o.Drop([]uint64{id}); err == nil && n < 1 {
				err = errors.New("not dropped")
			}
		case "valid":
			err = o.Valid(newMemory(arg))
		case "err":
			if wait(o.FD(), unix.POLLIN, time.Now().Add(patience)) {
				err = o.Err()
			}
		case "become": // another process, which inherits the connection
			next := exec.Command("/proc/self/exe")
			next.Stdin, next.Stdout, next.Stderr = os.Stdin, os.Stdout, os.Stderr
			next.ExtraFiles = []*os.File{os.NewFile(uintptr(o.FD()), "keeper")}
			if err = next.Start(); err == nil {
				fmt.Println("ok", next.Process.Pid)
				return
			}
		}
		if err != nil {
			fmt.Println("error", err)
		} else {
			fmt.Println("ok", answer)
		}
	}
}

func parseItems(s string) (items []Item) {
	for one := range strings.SplitSeq(s, ",") {
		id, fd, _ := strings.Cut(one, ":")
		i, _ := strconv.ParseUint(id, 10, 64)
		n, _ := strconv.Atoi(fd)
		items = append(items, Item{i, n})
	}
	return items
}

func newMemory(text string) int {
	fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC)
	if err == nil {
		_, err = unix.Pwrite(fd, []byte(text), 0)
	}
	if err != nil {
		panic(err)
	}
	return fd
}

// describe is a line about what was inherited, such as "1,2 text".
func describe(in Inherited) string {
	slices.SortFunc(in.Items, func(a, b Item) int { return int(a.ID) - int(b.ID) })
	var b strings.Builder
	for i, it := range in.Items {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprint(&b, it.ID)
	}
	text := "-"
	if in.Memory >= 0 {
		buf := make([]byte, 100)
		n, _ := unix.Pread(in.Memory, buf, 0)
		text = string(buf[:n])
	}
	return b.String() + " " + text
}

// gateway is another process, in the role of a gateway.
type gateway struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Reader
}

func spawn(t *testing.T, env []string, files ...int) *gateway {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(append(os.Environ(), roleEnv+"=gateway"), env...)
	cmd.Stderr = os.Stderr
	for _, fd := range files {
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(dup), "inherited")
		defer func() { _ = f.Close() }()
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	inR, inW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stdout = inR, outW
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = inR.Close(), outW.Close()
	g := &gateway{t, cmd, inW, bufio.NewReader(outR)}
	t.Cleanup(func() {
		g.kill()
		_, _ = inW.Close(), outR.Close()
	})
	return g
}

// do has it do a thing, and returns its answer.
func (g *gateway) do(line string) string {
	g.t.Helper()
	if _, err := fmt.Fprintln(g.in, line); err != nil {
		g.t.Fatal(err)
	}
	answer, err := g.out.ReadString('\n')
	if err != nil {
		g.t.Fatalf("%s: %v", line, err)
	}
	return strings.TrimSpace(answer)
}

// want has it do a thing with an answer that begins in a way.
func (g *gateway) want(line, answer string) {
	g.t.Helper()
	if got := g.do(line); !strings.HasPrefix(got, answer) {
		g.t.Fatalf("%s: %q, want %q", line, got, answer)
	}
}

func (g *gateway) pid() int { return g.cmd.Process.Pid }

// kill returns when it is dead.
func (g *gateway) kill() {
	_ = g.cmd.Process.Kill()
	_ = g.cmd.Wait()
}

// startKeeper keeps in this process until the test ends.
func startKeeper(t testing.TB, keepFor time.Duration) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "keeper")
	k, err := Listen(path, Options{KeepFor: keepFor, Log: slog.New(slog.NewTextHandler(testWriter{t}, nil))})
	if err != nil {
		t.Fatal(err)
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		for {
			if woken, err := k.Turn(pipe[0], time.Hour); woken || err != nil {
				done <- errors.Join(err, k.Close())
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = unix.Close(pipe[1])
		if err := <-done; err != nil {
			t.Error(err)
		}
		_ = unix.Close(pipe[0])
	})
	return path
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(string(bytes.TrimSpace(b)))
	return len(b), nil
}

// socketPair is a socket to be kept, and its peer.
func socketPair(t testing.TB) (kept, peer int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fds[0], fds[1]
}

// claim claims; the test fails if it cannot.
func claim(t testing.TB, path string) (*Owner, Inherited) {
	t.Helper()
	o, in, err := Claim(path, patience)
	if err != nil {
		t.Fatal(err)
	}
	return o, in
}

// wantItems compares what was inherited with a description.
func wantItems(t testing.TB, in Inherited, want string) {
	t.Helper()
	if got := describe(in); got != want {
		t.Fatalf("inherited %q, want %q", got, want)
	}
}

// wantPeer checks that fd is the socket whose peer is peer.
func wantPeer(t testing.TB, fd, peer int, mark byte) {
	t.Helper()
	if _, err := unix.Write(peer, []byte{mark}); err != nil {
		t.Fatal(err)
	}
	var b [2]byte
	if n, err := unix.Read(fd, b[:]); n != 1 || err != nil || b[0] != mark {
		t.Fatalf("%d: read %q, %v, want %q", fd, b[:max(n, 0)], err, mark)
	}
}

// put puts all of items, and waits when it must.
func put(t testing.TB, o *Owner, items []Item) {
	t.Helper()
	for deadline := time.Now().Add(patience); len(items) > 0; {
		n, err := o.Put(items)
		if err != nil || time.Now().After(deadline) {
			t.Fatal(n, err)
		}
		if items = items[n:]; len(items) > 0 {
			wait(o.FD(), unix.POLLOUT, time.Now().Add(time.Millisecond))
		}
	}
}

// refusal waits until the owner's connection is refused.
func refusal(t testing.TB, o *Owner) string {
	t.Helper()
	if !wait(o.FD(), unix.POLLIN, time.Now().Add(patience)) {
		t.Fatal("it is not refused")
	}
	var refused *RefusedError
	if err := o.Err(); !errors.As(err, &refused) {
		t.Fatalf("not refused: %v", err)
	}
	return refused.Reason
}

func openFiles(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
