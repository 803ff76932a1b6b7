package keep

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// process is a keeper in a process of its own.
type process struct {
	t    testing.TB
	path string
	cmd  *exec.Cmd
	in   *os.File
	out  *bufio.Reader
}

// spawnKeeper starts one; env and files are of its environment.
func spawnKeeper(t testing.TB, env []string, files ...*os.File) *process {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keeper")
	cmd := exec.Command("/proc/self/exe", path)
	cmd.Env = append(append(os.Environ(), roleEnv+"=keeper"), env...)
	cmd.Stderr, cmd.ExtraFiles = os.Stderr, files
	inR, inW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin = inR
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = inR.Close()
	t.Cleanup(func() { _, _, _ = inW.Close(), cmd.Process.Kill(), cmd.Wait() })
	return &process{t, path, cmd, inW, bufio.NewReader(out)}
}

// order has it do x or b, if not nothing, and waits for its answer.
func (p *process) order(what, answer string) {
	p.t.Helper()
	if _, err := p.in.WriteString(what); err != nil {
		p.t.Fatal(err)
	}
	if got, err := p.out.ReadString('\n'); err != nil || !strings.HasPrefix(got, answer) {
		p.t.Fatalf("%q: it says %q, %v, want %q", what, got, err, answer)
	}
}

// notCloseOnExec counts the file descriptors that another program would get.
func (p *process) notCloseOnExec() (n int) {
	p.t.Helper()
	dir := fmt.Sprintf("/proc/%d/fdinfo/", p.cmd.Process.Pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(dir + e.Name())
		if err != nil {
			continue
		}
		_, flags, _ := strings.Cut(string(b), "flags:\t")
		flags, _, _ = strings.Cut(flags, "\n")
		if f, err := strconv.ParseInt(flags, 8, 64); err != nil {
			p.t.Fatal(err)
		} else if fd, _ := strconv.Atoi(e.Name()); fd >= firstFD && f&unix.O_CLOEXEC == 0 {
			n++
		}
	}
	return n
}

// A release of the keeper changes nothing, not even for a connection in the midst of a claim.
func TestExec(t *testing.T) {
	p := spawnKeeper(t, nil)
	p.order("", "keeps 0")
	before := p.notCloseOnExec() // what the test itself has inherited
	p.order("x", "keeps 0")
	o, _ := claim(t, p.path)
	peers := make(map[uint64]int)
	add := func(from, to uint64) {
		for id := from; id < to; id++ {
			kept, peer := socketPair(t)
			put(t, o, []Item{{id, kept}})
			peers[id] = peer
			_ = unix.Close(kept)
		}
	}
	add(0, 1500)
	p.order("x", "keeps")
	if err := o.Valid(newMemory("first")); err != nil {
		t.Fatal(err)
	}
	add(1500, 1600)
	_, _ = o.Drop([]uint64{5, 6})
	p.order("x", "keeps")
	p.order("b", "failed: keeper: exec /does/not/exist: no such file")
	if n := p.notCloseOnExec(); n != before {
		t.Errorf("%d file descriptors are not close-on-exec, %d were before", n, before)
	}
	add(1600, 1601)
	if _, err := o.Drop([]uint64{1599}); err != nil {
		t.Fatal(err)
	}
	if err := o.Err(); err != nil {
		t.Fatal(err)
	}
	_ = o.Close()

	check := func(in Inherited) {
		t.Helper()
		want := len(peers) - 3 // and 5, 6, 1599 are gone
		if len(in.Items) != want {
			t.Fatalf("inherited %d, want %d", len(in.Items), want)
		}
		if got := describe(Inherited{Memory: in.Memory}); got != " first" {
			t.Fatalf("memory %q", got)
		}
		for _, it := range in.Items {
			wantPeer(t, it.FD, peers[it.ID], byte(it.ID))
		}
		in.Close()
	}
	// DROPs before VALID are still held back afterwards.
	o, in := claim(t, p.path)
	check(in)
	if _, err := o.Drop([]uint64{1, 2, 3}); err != nil {
		t.Fatal(err)
	}
	p.order("x", "keeps 1598")
	_ = o.Close()

	// In the midst of a claim.
	fd, err := connect(p.path, time.Now().Add(patience))
	if err != nil {
		t.Fatal(err)
	}
	o = &Owner{fd: fd}
	pidfd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := send(fd, message{kind: msgClaim, version: version}.append(nil), []int{pidfd}); err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(pidfd)
	in = Inherited{Memory: -1}
	next := func() kind {
		t.Helper()
		if !wait(fd, unix.POLLIN, time.Now().Add(patience)) {
			t.Fatal("nothing comes")
		}
		b := make([]byte, maxMessage)
		n, fds, err := receive(fd, b, make([]byte, controlSize))
		if err != nil {
			t.Fatal(err)
		}
		m, err := parse(b[:n], len(fds))
		if err != nil {
			t.Fatal(err)
		}
		for i, fd := range fds {
			if m.kind == msgState {
				in.Memory = fd
			} else {
				in.Items = append(in.Items, Item{m.ids.at(i), fd})
			}
		}
		return m.kind
	}
	for range 1 + maxUnanswered {
		next()
	}
	if wait(fd, unix.POLLIN, time.Now().Add(50*time.Millisecond)) {
		t.Fatalf("%v comes before a TOOK", next())
	}
	p.order("x", "keeps 1598")
	for range maxUnanswered {
		if err := send(fd, []byte{byte(msgTook)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	for next() != msgEnd {
		if err := send(fd, []byte{byte(msgTook)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	check(in)
	if err := o.Valid(newMemory("second")); err != nil {
		t.Fatal(err)
	}
	_ = o.Close()
	o, in = claim(t, p.path)
	defer func() { _ = o.Close() }()
	if len(in.Items) != 1598 {
		t.Fatal(len(in.Items))
	}
	in.Close()
}

// A claim that waits for a death waits on, and KeepFor goes on.
func TestExecWhileNobody(t *testing.T) {
	p := spawnKeeper(t, nil)
	p.order("", "keeps 0")
	s, peer := socketPair(t)
	g := spawn(t, nil, s)
	g.want("claim "+p.path, "ok")
	g.want("put 1:3", "ok")
	g.want("valid state", "ok")
	g.want("drop 2", "ok")
	g.want("err", "error")
	waiting := make(chan string)
	go func() {
		o, in, err := Claim(p.path, patience)
		if err != nil {
			waiting <- err.Error()
			return
		}
		defer func() { _ = o.Close() }()
		waiting <- describe(in)
	}()
	time.Sleep(20 * time.Millisecond) // either way is right
	p.order("x", "keeps 1")
	g.kill()
	if got := <-waiting; got != "1 state" {
		t.Fatal(got)
	}
	if wait(peer, unix.POLLIN, time.Now()) {
		t.Error("the peer has heard something")
	}
}

// What cannot be read is said, and what it was about is closed.
func TestExecOfNonsense(t *testing.T) {
	listener, err := listen(filepath.Join(t.TempDir(), "listener"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(listener) }()
	for _, c := range []struct{ name, state, want string }{
		{"not JSON", "nonsense", "invalid character"},
		{"empty", "", "unexpected end"},
		{"another version", `{"version":2}`, "version 2 of the state"},
		{"no listener", `{"version":1,"owner":{"state":"nobody","pidfd":-1,"conn":{"fd":-1}}}`, "does not listen"},
		{"a socket for listener", `{"version":1,"listener":4,"owner":{"state":"nobody","pidfd":-1,"conn":{"fd":-1}}}`, "does not listen"},
		{"closed fd", `{"version":1,"listener":5,"ids":[1],"fds":[900],"owner":{"state":"nobody","pidfd":-1,"conn":{"fd":-1}}}`, "file descriptor 900"},
		{"stdout", `{"version":1,"listener":5,"ids":[1],"fds":[1],"owner":{"state":"nobody","pidfd":-1,"conn":{"fd":-1}}}`, "file descriptor 1 is none"},
		{"fd twice", `{"version":1,"listener":5,"ids":[1,2],"fds":[4,4],"owner":{"state":"nobody","pidfd":-1,"conn":{"fd":-1}}}`, "there twice"},
		{"id twice", `{"version":1,"listener":5,"ids":[1,1],"fds":[4,6],"owner":{"state":"nobody","pidfd":-1,"conn":{"fd":-1}}}`, "item 1 is there twice"},
		{"id without fd", `{"version":1,"listener":5,"ids":[1],"fds":[],"owner":{"state":"nobody","pidfd":-1,"conn":{"fd":-1}}}`, "1 ids of 0"},
		{"memory", `{"version":1,"listener":5,"memory":4,"owner":{"state":"nobody","pidfd":-1,"conn":{"fd":-1}}}`, "the memory is none"},
		{"state", `{"version":1,"listener":5,"owner":{"state":"maybe","pidfd":-1,"conn":{"fd":-1}}}`, `state "maybe"`},
		{"owner without process", `{"version":1,"listener":5,"owner":{"state":"claiming","pidfd":-1,"conn":{"fd":-1}}}`, "owner {"},
		{"pidfd", `{"version":1,"listener":5,"owner":{"state":"owned","pidfd":4,"conn":{"fd":-1}}}`, "pidfd is none"},
		{"held", `{"version":1,"listener":5,"owner":{"state":"claimed","pidfd":4,"conn":{"fd":-1},"held":[3]}}`, ""},
	} {
		s, peer := socketPair(t)
		other, _ := socketPair(t)
		var files []*os.File
		for _, fd := range []int{newMemory(c.state), s, mustDup(t, listener), other} {
			files = append(files, os.NewFile(uintptr(fd), c.name))
		}
		if c.name == "empty" {
			_ = files[0].Truncate(0)
		}
		p := spawnKeeper(t, []string{StateEnv + "=3"}, files...)
		for _, f := range files {
			_ = f.Close()
		}
		line, err := p.out.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, "lost: keeper: the state that the program before") || !strings.Contains(line, c.want) {
			t.Errorf("%s: it says %q, %v, want %q", c.name, line, err, c.want)
		}
		p.order("", "keeps 0")
		if !wait(peer, unix.POLLIN|unix.POLLRDHUP, time.Now().Add(patience)) {
			t.Errorf("%s: what was inherited is still open", c.name)
		}
		_ = unix.Close(peer)
		o, in := claim(t, p.path)
		wantItems(t, in, " -")
		_ = o.Close()
	}
	p := spawnKeeper(t, []string{StateEnv + "=x"})
	p.order("", `lost: `)
	p.order("", "keeps 0")
}

func mustDup(t *testing.T, fd int) int {
	t.Helper()
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return dup
}

// At the limit of open files a PUT is refused, and the keeper can be claimed.
func TestNoRoom(t *testing.T) {
	for _, batch := range []int{253, 7} {
		p := spawnKeeper(t, []string{filesEnv + "=128"})
		p.order("", "keeps 0")
		s, peer := socketPair(t)
		o, _ := claim(t, p.path)
		var items []Item
		for id := range uint64(50) {
			items = append(items, Item{id, s})
		}
		put(t, o, items)
		last := uint64(50)
		for ; last < 50+2*253; last += uint64(batch) {
			items = items[:0]
			for i := range uint64(batch) {
				items = append(items, Item{last + i, s})
			}
			put(t, o, items)
		}
		if n, err := o.Drop([]uint64{last - 1, 50}); n != 2 || err != nil { // one that is kept, one that is not
			t.Fatal(n, err)
		}
		if err := o.Valid(newMemory("state")); err != nil {
			t.Fatal(err)
		}
		p.order("x", "keeps")
		if err := o.Err(); err != nil {
			t.Fatalf("in batches of %d: %v", batch, err)
		}
		_ = o.Close()
		o, in := claim(t, p.path)
		if n := len(in.Items); n < 49 || n > 100 {
			t.Errorf("in batches of %d: %d are kept", batch, n)
		}
		wantPeer(t, in.Items[slices.IndexFunc(in.Items, func(it Item) bool { return it.ID == 49 })].FD, peer, 'x')
		in.Close()
		p.order("x", "keeps")
		_ = o.Close()
	}
}

// A claimant without room leaves everything to the next.
func TestClaimantWithoutRoom(t *testing.T) {
	path := startKeeper(t, time.Minute)
	o, _ := claim(t, path)
	s, _ := socketPair(t)
	var items []Item
	for id := range uint64(300) {
		items = append(items, Item{id, s})
	}
	put(t, o, items)
	memory := newMemory("state")
	if err := o.Valid(memory); err != nil {
		t.Fatal(err)
	}
	o2 := spawn(t, []string{filesEnv + "=64"})
	o2.want("claim "+path, "error claim from the keeper at "+path+": the keeper refuses: process")
	_ = o.Close()
	// This process lives: it says whose everything is.
	dead := spawn(t, nil, s)
	dead.want("claim "+path, "error")

	path = startKeeper(t, time.Minute)
	first := spawn(t, nil, s)
	first.want("claim "+path, "ok")
	for id := range 100 {
		first.want(fmt.Sprintf("put %d:3", id), "ok")
	}
	first.want("valid state", "ok")
	first.kill()
	poor := spawn(t, []string{filesEnv + "=64"})
	poor.want("claim "+path, "error claim from the keeper at "+path+": file descriptors were truncated")
	poor.kill()
	o, in := claim(t, path)
	if len(in.Items) != 100 || in.Memory < 0 {
		t.Fatal(len(in.Items), in.Memory)
	}
	in.Close()
	_ = o.Close()
}
