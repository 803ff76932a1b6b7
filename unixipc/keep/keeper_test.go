package keep

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestEmpty(t *testing.T) {
	path := startKeeper(t, time.Minute)
	o, in := claim(t, path)
	wantItems(t, in, " -")
	if err := o.Err(); err != nil {
		t.Error(err)
	}
	if err := o.Close(); err != nil {
		t.Error(err)
	}
	if n, err := o.Put([]Item{{1, 0}}); n != 0 || err == nil {
		t.Errorf("after Close: %d, %v", n, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestNoKeeper(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keeper")
	if _, _, err := Claim(path, patience); !errors.Is(err, unix.ENOENT) {
		t.Error(err)
	}
	fd, err := listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := Claim(path, 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("of a keeper that sleeps: %v", err)
	}
	_ = unix.Close(fd)
	if _, _, err := Claim(path, patience); !errors.Is(err, unix.ECONNREFUSED) {
		t.Error(err)
	}
	// A file is no stale socket.
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(file, Options{}); err == nil {
		t.Error("it listens in place of a file")
	}
}

// Each file descriptor comes back under its own id.
func TestThousandSockets(t *testing.T) {
	path := startKeeper(t, time.Minute)
	o, _ := claim(t, path)
	const n = 1000
	var items []Item
	peers := make(map[uint64]int)
	for id := range uint64(n) {
		kept, peer := socketPair(t)
		items, peers[id] = append(items, Item{id, kept}), peer
	}
	put(t, o, items)
	if err := o.Valid(newMemory("state")); err != nil {
		t.Fatal(err)
	}
	var drops []uint64
	for id := range uint64(n) {
		_ = unix.Close(items[id].FD)
		if id%3 == 0 {
			drops = append(drops, id)
		}
	}
	if got, err := o.Drop(drops); got != len(drops) || err != nil {
		t.Fatal(got, err)
	}
	_ = o.Close()

	// A process whose connection has ended may claim again.
	o, in := claim(t, path)
	defer func() { _ = o.Close() }()
	if len(in.Items) != n-len(drops) || in.Memory < 0 {
		t.Fatalf("inherited %d, memory %d", len(in.Items), in.Memory)
	}
	for _, it := range in.Items {
		wantPeer(t, it.FD, peers[it.ID], byte(it.ID))
		if flags, err := unix.FcntlInt(uintptr(it.FD), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Fatal("not close-on-exec", err)
		}
	}
	// What was dropped nobody holds any more.
	for _, id := range drops {
		var b [1]byte
		if n, err := unix.Read(peers[id], b[:]); n != 0 || err != nil {
			t.Fatalf("peer of %d, which was dropped: %d, %v", id, n, err)
		}
	}
	in.Close()
	for _, fd := range peers {
		_ = unix.Close(fd)
	}
}

func TestKilledOwner(t *testing.T) {
	path := startKeeper(t, time.Minute)
	a, peerA := socketPair(t)
	b, peerB := socketPair(t)
	g := spawn(t, nil, a, b)
	_, _ = unix.Close(a), unix.Close(b)
	g.want("claim "+path, "ok")
	g.want("put 1:3,2:4", "ok")
	g.want("valid first", "ok")
	g.want("valid second", "ok")

	_, _, err := Claim(path, patience)
	var refused *RefusedError
	if !errors.As(err, &refused) || !strings.Contains(refused.Reason, fmt.Sprintf("process %d, which lives, is the owner", g.pid())) {
		t.Fatalf("a claim while the owner lives: %v", err)
	}
	g.kill()
	o, in := claim(t, path)
	defer func() { _ = o.Close() }()
	wantItems(t, in, "1,2 second")
	wantPeer(t, in.Items[0].FD, peerA, 'a')
	wantPeer(t, in.Items[1].FD, peerB, 'b')
	in.Close()
}

// What a process has sent counts, however soon after it dies.
func TestLastWords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keeper")
	k, err := Listen(path, Options{KeepFor: time.Minute, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = k.Close() }()
	turn := func() {
		if _, err := k.Turn(-1, 10*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	s, _ := socketPair(t)
	g := spawn(t, nil, s)
	claimed := make(chan struct{})
	go func() { g.want("claim "+path, "ok"); close(claimed) }()
	for open := true; open; {
		turn()
		select {
		case <-claimed:
			open = false
		default:
		}
	}
	// The keeper sleeps from here on.
	for id := range 100 {
		g.want(fmt.Sprintf("put %d:3", id), "ok")
	}
	g.want("valid state", "ok")
	g.want("drop 0", "ok")
	g.kill()
	next := make(chan string)
	go func() {
		o, in, err := Claim(path, patience)
		if err != nil {
			next <- err.Error()
			return
		}
		defer func() { _ = o.Close() }()
		next <- fmt.Sprint(len(in.Items), in.Memory >= 0)
	}()
	for {
		turn()
		select {
		case got := <-next:
			if got != "99 true" {
				t.Fatal(got)
			}
			return
		default:
		}
	}
}

// A claimant that dies before its VALID has never been, but for what it has put.
func TestKilledClaimant(t *testing.T) {
	path := startKeeper(t, time.Minute)
	s, _ := socketPair(t)
	a := spawn(t, nil, s)
	a.want("claim "+path, "ok")
	a.want("put 1:3,2:3", "ok")
	a.want("valid a", "ok")
	a.kill()
	for i := range 2 {
		b := spawn(t, nil, s)
		if i == 0 {
			b.want("claim "+path, "ok 1,2 a")
			b.want("drop 2", "ok")
			b.want("put 3:3,4:3", "ok")
			b.want("drop 4", "ok")
		} else {
			b.want("claim "+path, "ok 1,2,3,4 a")
			b.want("drop 4", "ok")
		}
		b.kill()
	}
	// With a VALID the DROPs count, those before it and those after it.
	c := spawn(t, nil, s)
	c.want("claim "+path, "ok 1,2,3,4 a")
	c.want("drop 2", "ok")
	c.want("valid c", "ok")
	c.want("drop 3", "ok")
	c.want("put 2:3", "ok")
	c.kill()
	d := spawn(t, nil)
	d.want("claim "+path, "ok 1,2,4 c")
	d.want("drop 9", "ok")
	d.want("err", "error the keeper refuses: DROP of item 9, which does not exist")
}

// In an upgrade the next process has the connection.
func TestUpgrade(t *testing.T) {
	path := startKeeper(t, time.Minute)
	s, _ := socketPair(t)
	o, _ := claim(t, path)
	put(t, o, []Item{{1, s}})
	if err := o.Valid(newMemory("old")); err != nil {
		t.Fatal(err)
	}
	next := spawn(t, nil, o.FD(), s)
	next.want("adopt 3", "ok")
	next.want("valid new", "ok")
	next.want("put 2:4", "ok")
	_ = o.Close()
	if _, _, err := Claim(path, patience); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("process %d, which lives", next.pid())) {
		t.Fatalf("a claim while the new process lives: %v", err)
	}
	next.want("put 3:4", "ok")
	next.want("drop 1", "ok")
	next.kill()
	o, in := claim(t, path)
	defer func() { _ = o.Close() }()
	wantItems(t, in, "2,3 new")
	in.Close()
}

// The old process of an upgrade dies: whether the new one has said VALID or not, nobody
// else gets anything while it has the connection.
func TestUpgradeOfDead(t *testing.T) {
	t.Parallel()
	for _, valid := range []bool{true, false} {
		path := startKeeper(t, time.Minute)
		s, _ := socketPair(t)
		old := spawn(t, nil, s)
		old.want("claim "+path, "ok")
		old.want("put 1:3", "ok")
		old.want("valid old", "ok")
		pid := strings.TrimPrefix(old.do("become"), "ok ")
		_ = old.cmd.Wait()
		old.want("adopt 3", "ok") // it is the next one that answers
		if valid {
			old.want("valid new", "ok")
			if _, _, err := Claim(path, patience); err == nil || !strings.Contains(err.Error(), "process "+pid+", which lives") {
				t.Fatalf("a claim while the new process lives: %v", err)
			}
			old.want("drop 1", "ok")
			_ = unix.Kill(atoi(t, pid), unix.SIGKILL)
			continue
		}
		if _, _, err := Claim(path, patience); err == nil || !strings.Contains(err.Error(), "is dead, but another one has its connection") {
			t.Fatalf("a claim while the new process may go on: %v", err)
		}
		_ = unix.Kill(atoi(t, pid), unix.SIGKILL)
		o, in := claim(t, path)
		wantItems(t, in, "1 old")
		in.Close()
		_ = o.Close()
	}
}

func atoi(t *testing.T, s string) (n int) {
	t.Helper()
	if _, err := fmt.Sscan(s, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// An owner without a connection is the owner while it lives; a claim waits for its death.
func TestOwnerWithoutConnection(t *testing.T) {
	t.Parallel()
	path := startKeeper(t, time.Minute)
	s, _ := socketPair(t)
	g := spawn(t, nil, s)
	g.want("claim "+path, "ok")
	g.want("put 1:3", "ok")
	g.want("valid state", "ok")
	g.want("drop 2", "ok")
	g.want("err", "error the keeper refuses: DROP of item 2")

	begun := time.Now()
	if _, _, err := Claim(path, patience); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("process %d is the owner and lives, though its connection has ended", g.pid())) {
		t.Fatal(err)
	}
	if took := time.Since(begun); took < deathLimit {
		t.Errorf("it has waited %v", took)
	}
	go func() {
		time.Sleep(deathLimit / 4)
		_ = g.cmd.Process.Kill()
	}()
	o, in := claim(t, path)
	defer func() { _ = o.Close() }()
	wantItems(t, in, "1 state")
	in.Close()
}

// Two claims wait: one gets everything, the other is refused.
func TestTwoClaimsWait(t *testing.T) {
	path := startKeeper(t, time.Minute)
	g := spawn(t, nil)
	g.want("claim "+path, "ok")
	g.want("drop 2", "ok")
	g.want("err", "error")
	results := make(chan error, 2)
	for range 2 {
		go func() {
			_, _, err := Claim(path, patience) // its Owner stays open
			results <- err
		}()
	}
	time.Sleep(50 * time.Millisecond) // either order is right
	g.kill()
	a, b := <-results, <-results
	if (a == nil) == (b == nil) {
		t.Fatalf("two claims: %v, and %v", a, b)
	}
}

func TestKeepFor(t *testing.T) {
	const keepFor = 300 * time.Millisecond
	path := startKeeper(t, keepFor)
	for range 2 { // what comes later begins anew
		s, peer := socketPair(t)
		g := spawn(t, nil, s)
		g.want("claim "+path, "ok")
		g.want("put 1:3", "ok")
		g.want("valid state", "ok")
		_ = unix.Close(s)
		if wait(peer, unix.POLLIN, time.Now().Add(2*keepFor)) {
			t.Fatal("it was ended while the owner lives")
		}
		g.kill()
		killed := time.Now()
		if !wait(peer, unix.POLLIN|unix.POLLRDHUP, time.Now().Add(patience)) {
			t.Fatal("it was not ended")
		}
		if after := time.Since(killed); after < keepFor*9/10 {
			t.Errorf("ended after %v", after)
		}
		var b [1]byte
		if n, err := unix.Read(peer, b[:]); n != 0 || err != nil {
			t.Fatal(n, err)
		}
		next := spawn(t, nil)
		next.want("claim "+path, "ok  -")
		next.kill()
	}
}

// KeepFor begins with the death, and a claim ends it.
func TestClaimEndsKeepFor(t *testing.T) {
	const keepFor = 300 * time.Millisecond
	path := startKeeper(t, keepFor)
	s, peer := socketPair(t)
	g := spawn(t, nil, s)
	g.want("claim "+path, "ok")
	g.want("put 1:3", "ok")
	g.want("valid state", "ok")
	_ = unix.Close(s)
	g.kill()
	o, in := claim(t, path)
	in.Close()
	_ = o.Close() // its process lives
	if wait(peer, unix.POLLIN|unix.POLLRDHUP, time.Now().Add(2*keepFor)) {
		t.Fatal("it was ended while the claimant lives")
	}
}
