package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// allocateIn names the directory in which the test binary, run again, gives out
// ids until it is killed.
const allocateIn = "PROCESSOR_TEST_ALLOCATE_IN"

func TestMain(m *testing.M) {
	if dir := os.Getenv(allocateIn); dir != "" {
		allocateForEver(dir)
	}
	os.Exit(m.Run())
}

func allocateForEver(dir string) {
	ids, err := openTransactions(dir)
	for n := 0; err == nil; n++ {
		var id int32
		id, err = ids.start("CP", fmt.Append(nil, n))
		fmt.Println(id)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// book fails the test on an id that is not positive or not new.
type book struct {
	t    *testing.T
	mu   sync.Mutex
	seen map[int32]bool
}

func newBook(t *testing.T) *book { return &book{t: t, seen: map[int32]bool{}} }

func (b *book) enter(id int32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if id <= 0 || b.seen[id] {
		b.t.Errorf("id %d was given out before, or never may be", id)
	}
	b.seen[id] = true
}

func mustStart(t *testing.T, ids *transactions, message string) int32 {
	t.Helper()
	id, err := ids.start("CP", []byte(message))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// Several processors of one process each, killed at any moment and started
// again: what they printed was given out.
func TestIDsAcrossProcessesAndCrashes(t *testing.T) {
	dir, seen := t.TempDir(), newBook(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const processors, lives, idsPerLife = 4, 3, 3*leaseSize + 7
	var wg sync.WaitGroup
	for range processors {
		wg.Go(func() {
			for range lives {
				if err := oneLife(self, dir, idsPerLife, seen); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if want := processors * lives * idsPerLife; len(seen.seen) < want {
		t.Errorf("%d ids, want at least %d", len(seen.seen), want)
	}
}

// oneLife runs an allocator, kills it after n ids and enters all that it gave.
func oneLife(self, dir string, n int, seen *book) error {
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), allocateIn+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	r := bufio.NewReader(out)
	for i := 0; ; i++ {
		if i == n {
			_ = cmd.Process.Kill()
		}
		line, err := r.ReadString('\n')
		if err != nil { // killed; a line cut short is an id that nobody got
			break
		}
		id, err := strconv.ParseInt(strings.TrimSpace(line), 10, 32)
		if err != nil {
			return err
		}
		seen.enter(int32(id))
	}
	_ = cmd.Wait()
	return nil
}

func TestIDsOfConcurrentStarts(t *testing.T) {
	dir, seen := t.TempDir(), newBook(t)
	var wg sync.WaitGroup
	for range 3 {
		ids, err := openTransactions(dir)
		if err != nil {
			t.Fatal(err)
		}
		for g := range 4 {
			wg.Go(func() {
				for i := range 2 * leaseSize {
					id, err := ids.start("CP", fmt.Append(nil, g, i))
					if err != nil {
						t.Error(err)
						return
					}
					seen.enter(id)
				}
			})
		}
	}
	wg.Wait()
}

// A file that is lost begins beyond the ids of the one before, if these were
// fewer than one per second.
func TestIDsAfterALostFile(t *testing.T) {
	dir, seen := t.TempDir(), newBook(t)
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for range 5 {
		ids := newTransactions(dir, 8)
		ids.now = func() time.Time { return now }
		for i := range 3 * leaseSize {
			seen.enter(mustStart(t, ids, strconv.Itoa(i)))
		}
		if err := os.Remove(filepath.Join(dir, counterName)); err != nil {
			t.Fatal(err)
		}
		now = now.Add(3 * leaseSize * time.Second)
	}
}

func TestCounterFile(t *testing.T) {
	for _, tt := range []struct{ content, why string }{
		{"0000000100\n", ""},
		{"2147483583\n", ""}, // the last block that fits
		{"2147483584\n", "used up"},
		{"0000000000\n", "damaged"},
		{"-000000100\n", "damaged"},
		{"100\n", "damaged"},
		{"0000000100", "damaged"},
		{"0000000100\n\n", "damaged"},
		{"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", "damaged"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, counterName), []byte(tt.content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := openTransactions(dir)
		switch {
		case tt.why == "" && err != nil:
			t.Errorf("%q: %v", tt.content, err)
		case tt.why != "" && (err == nil || !strings.Contains(err.Error(), tt.why)):
			t.Errorf("%q: error %v, want %s", tt.content, err, tt.why)
		}
	}
}

func TestNewCounterBeforeItsEpoch(t *testing.T) {
	ids := newTransactions(t.TempDir(), 8)
	ids.now = func() time.Time { return time.Unix(0, 0) }
	if id := mustStart(t, ids, "start"); id != 1 {
		t.Errorf("a clock that was never set: first id %d, want 1", id)
	}
}
