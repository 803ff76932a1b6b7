package journal

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// pair returns a socket of the gateway's and its other end.
func pair(t *testing.T) (ours, theirs int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fds[0]); _ = unix.Close(fds[1]) })
	return fds[0], fds[1]
}

func newJournal(t *testing.T) *Journal {
	t.Helper()
	j, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(j.Close)
	return j
}

// left is what the next process would find at this moment.
func left(t *testing.T, j *Journal) *Left {
	t.Helper()
	l, err := Open(j.FD())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// At any moment the memory has the items of the last commit, whatever was done since.
func TestOnlyCommittedCounts(t *testing.T) {
	j := newJournal(t)
	r := rand.New(rand.NewPCG(1, 2))
	valid, now := map[Slot][]byte{}, map[Slot][]byte{}
	check := func(what string) {
		t.Helper()
		l := left(t, j)
		if len(l.Items) != len(valid) || len(l.Broken) > 0 {
			t.Fatalf("%s: %d items, want %d; broken %v", what, len(l.Items), len(valid), l.Broken)
		}
		for _, it := range l.Items {
			if !bytes.Equal(it.Blob, valid[it.Slot]) {
				t.Fatalf("%s: slot %d has %d bytes, want %d", what, it.Slot, len(it.Blob), len(valid[it.Slot]))
			}
		}
		l.Close()
	}
	for step := range 4000 {
		slots := make([]Slot, 0, len(now))
		for s := range now {
			slots = append(slots, s)
		}
		slices.Sort(slots)
		blob := bytes.Repeat([]byte{byte(step)}, 1+r.IntN([]int{100, 3000, 300_000}[min(2, r.IntN(40)/19)]))
		switch n := r.IntN(10); {
		case n < 2 || len(slots) == 0:
			s := j.Add()
			j.Put(s, blob)
			now[s] = blob
		case n < 6:
			s := slots[r.IntN(len(slots))]
			j.Put(s, blob)
			now[s] = blob
		case n < 7:
			s := slots[r.IntN(len(slots))]
			j.Drop(s)
			delete(now, s)
		default:
			j.Commit()
			valid = map[Slot][]byte{}
			for s, b := range now {
				valid[s] = b
			}
		}
		if step%7 == 0 {
			check(fmt.Sprint("step ", step))
		}
	}
}

// What was read since the commit is there, in order and with its item; what was read
// before is not.
func TestReadsInDoubt(t *testing.T) {
	j := newJournal(t)
	ours, theirs := pair(t)
	s := j.Add()
	j.Put(s, []byte("one"))
	j.Commit()
	b := make([]byte, 1000)
	for _, m := range []string{"first", "second"} {
		_, _ = unix.Write(theirs, []byte(m))
		if n, errno := j.Read(s, ours, b); errno != 0 || string(b[:n]) != m {
			t.Fatalf("%q %v", b[:n], errno)
		}
	}
	if _, errno := j.Read(s, ours, b); errno != unix.EAGAIN {
		t.Fatal(errno)
	}
	clear(b) // what is done to it does not matter
	l := left(t, j)
	if len(l.Reads) != 2 || string(l.Reads[0].Data) != "first" || string(l.Reads[1].Data) != "second" || l.Reads[1].Slot != s {
		t.Fatalf("%v", l.Reads)
	}
	j.Commit()
	if l := left(t, j); len(l.Reads) > 0 {
		t.Errorf("of a turn that is over: %v", l.Reads)
	}
	_, _ = unix.Write(theirs, []byte("third"))
	_, _ = j.Read(s, ours, b)
	if l := left(t, j); len(l.Reads) != 1 || string(l.Reads[0].Data) != "third" {
		t.Errorf("%v", l.Reads)
	}
	_ = unix.Shutdown(theirs, unix.SHUT_WR)
	if n, errno := j.Read(s, ours, b); n != 0 || errno != 0 {
		t.Errorf("at the end: %d %v", n, errno)
	}
}

// What came before an error of the socket is read, as with recv.
func TestReadsBeforeAnError(t *testing.T) {
	j := newJournal(t)
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := fds[0], fds[1]
	defer unix.Close(ours)
	s := j.Add()
	j.Put(s, []byte("x"))
	j.Commit()
	_, _ = unix.Write(ours, []byte("unread there"))
	_, _ = unix.Write(theirs, []byte("the last word"))
	_ = unix.Close(theirs) // with something unread: a reset
	b := make([]byte, 100)
	if n, errno := j.Read(s, ours, b); errno != 0 || string(b[:n]) != "the last word" {
		t.Errorf("%q, %v", b[:n], errno)
	}
	if n, errno := j.Read(s, ours, b); n != 0 {
		t.Errorf("at the end: %d, %v", n, errno)
	}
}

// How much of an item's output is written belongs to the version that it was written of.
func TestWrittenOfAVersion(t *testing.T) {
	j := newJournal(t)
	ours, theirs := pair(t)
	_ = unix.SetsockoptInt(ours, unix.SOL_SOCKET, unix.SO_SNDBUF, 4096)
	s, other := j.Add(), j.Add()
	out := bytes.Repeat([]byte("x"), 100_000)
	j.Put(s, out)
	j.Put(other, out)
	j.Commit()
	written := func() int {
		for _, it := range left(t, j).Items {
			if it.Slot == s {
				return it.Written
			}
		}
		return -1
	}
	first, errno := j.Write(s, ours, out)
	if errno != 0 || first == 0 || first == len(out) || written() != first {
		t.Fatalf("%d of %d, %v, noted %d", first, len(out), errno, written())
	}
	if _, errno := j.Write(s, ours, out[first:]); errno != unix.EAGAIN || written() != first {
		t.Fatalf("%v, noted %d", errno, written())
	}
	b := make([]byte, 1<<20)
	for n := 1; n > 0; n, _ = unix.Read(theirs, b) {
	}
	more, _ := j.Write(s, ours, out[first:])
	if more == 0 || written() != first+more {
		t.Fatalf("%d and %d, noted %d", first, more, written())
	}
	j.Put(s, out[first+more:])
	if written() != first+more {
		t.Error("an uncommitted version counts")
	}
	j.Commit()
	if written() != 0 {
		t.Errorf("of the new version %d are written", written())
	}
}

func TestWriteBeforeCommit(t *testing.T) {
	j := newJournal(t)
	ours, _ := pair(t)
	s := j.Add()
	j.Put(s, []byte("x"))
	defer func() {
		if recover() == nil {
			t.Error("written before it was committed")
		}
	}()
	_, _ = j.Write(s, ours, []byte("x"))
}

// What an extent holds grows; each version has as much of it as it was put with.
func TestExtent(t *testing.T) {
	j := newJournal(t)
	s := j.Add()
	var e Extent
	var data []byte
	extra := func() string {
		t.Helper()
		l := left(t, j)
		if len(l.Items) != 1 || string(l.Items[0].Blob) != "blob" {
			t.Fatalf("%v, broken %v", l.Items, l.Broken)
		}
		return string(l.Items[0].Extra)
	}
	for i := range 200 {
		before := string(data)
		data = append(data, bytes.Repeat([]byte{byte('a' + i%26)}, 1+i*i)...)
		j.Extend(&e, data)
		j.PutWith(s, []byte("blob"), &e)
		if i > 0 && extra() != before {
			t.Fatalf("%d: an uncommitted one counts", i)
		}
		j.Commit()
		if extra() != string(data) {
			t.Fatalf("%d: not what was put", i)
		}
	}
	j.Release(e)
	j.Put(s, []byte("blob"))
	if extra() != string(data) {
		t.Error("released before the commit")
	}
	j.Commit()
	if extra() != "" {
		t.Error("still there")
	}
	j.Extend(new(Extent), make([]byte, e.room)) // its block is used again
	e = Extent{}
	j.Extend(&e, []byte("hello"))
	j.PutWith(s, []byte("blob"), &e)
	j.Commit()
	j.m[dataAt+int64(e.off)] ^= 1
	if l := left(t, j); len(l.Broken) != 1 {
		t.Error("a broken extent was not noticed")
	}
}

// A slot is used again only when the end of its item is valid.
func TestSlotsAreUsedAgain(t *testing.T) {
	j := newJournal(t)
	a := j.Add()
	j.Put(a, []byte("a"))
	j.Commit()
	j.Drop(a)
	if b := j.Add(); b == a {
		t.Error("before the commit")
	}
	j.Commit()
	if b := j.Add(); b != a {
		t.Error("not after the commit")
	}
	k := newJournal(t)
	if err := k.Take(5); err != nil {
		t.Fatal(err)
	}
	k.Put(5, []byte("five"))
	if k.Take(5) == nil || k.Take(0) == nil || k.Take(maxSlots) == nil {
		t.Error("a slot that is there, or cannot be, was taken")
	}
	k.Commit()
	k.Taken()
	seen := map[Slot]bool{5: true}
	for range 10 {
		s := k.Add()
		if seen[s] || s == 0 {
			t.Errorf("slot %d twice", s)
		}
		seen[s] = true
		k.Put(s, []byte("x"))
	}
	if len(seen) != 11 || !seen[1] || !seen[4] {
		t.Errorf("%v", seen)
	}
}

// The arena and the notes of a turn are bounded: what has no room waits in the socket.
func TestTurnIsBounded(t *testing.T) {
	j := newJournal(t)
	ours, theirs := pair(t)
	s := j.Add()
	b := make([]byte, 10)
	for i := range maxReads {
		_, _ = unix.Write(theirs, []byte("x"))
		if n, errno := j.Read(s, ours, b); n != 1 || errno != 0 {
			t.Fatalf("read %d: %d %v", i, n, errno)
		}
	}
	_, _ = unix.Write(theirs, []byte("y"))
	if n, errno := j.Read(s, ours, b); n != 0 || errno != unix.EAGAIN {
		t.Fatalf("%d %v", n, errno)
	}
	j.Commit()
	if n, errno := j.Read(s, ours, b); n != 1 || errno != 0 || b[0] != 'y' {
		t.Fatalf("%d %v", n, errno)
	}
}

// An item that fails its checksum costs itself, no other; a memory that is none is refused.
func TestBrokenMemory(t *testing.T) {
	j := newJournal(t)
	for range 3 {
		j.Put(j.Add(), []byte("an item"))
	}
	j.Commit()
	j.m[dataAt+int64(j.current(2).off)] ^= 1
	j.current(3).off = 1 << 60
	l := left(t, j)
	if len(l.Items) != 1 || !slices.Equal(l.Broken, []Slot{2, 3}) {
		t.Errorf("%d items, broken %v", len(l.Items), l.Broken)
	}
	j.Void()
	if _, err := Open(j.FD()); err == nil {
		t.Error("opened what is none")
	}
	ours, _ := pair(t)
	if _, err := Open(ours); err == nil {
		t.Error("opened a socket")
	}
}

func TestClasses(t *testing.T) {
	last, at := 0, -1
	for size := 1; size <= most; size++ {
		c, block := class(size)
		if size > block || block < last || c < at || c >= classes || size > 256 && block > size*5/4+grain {
			t.Fatalf("size %d: class %d of %d bytes", size, c, block)
		}
		last, at = block, c
	}
	if at != classes-1 {
		t.Errorf("%d classes, of which %d are used", classes, at+1)
	}
}

// Blocks never overlap, and what is free is given back, whatever sizes there were.
func TestBlocks(t *testing.T) {
	j := newJournal(t)
	allocated := func() int64 {
		var stat unix.Stat_t
		if err := unix.Fstat(j.FD(), &stat); err != nil {
			t.Fatal(err)
		}
		return stat.Blocks * 512
	}
	const items = 300
	var slots []Slot
	for range items {
		slots = append(slots, j.Add())
	}
	blob := func(i, size int) []byte { return bytes.Repeat([]byte{byte(i)}, size) }
	step := func(size func(i int) int) {
		t.Helper()
		for i, s := range slots {
			j.Put(s, blob(i, size(i)))
		}
		j.Commit()
		l := left(t, j)
		defer l.Close()
		if len(l.Items) != items || len(l.Broken) > 0 {
			t.Fatalf("%d items, broken %v", len(l.Items), l.Broken)
		}
		for i, it := range l.Items {
			if !bytes.Equal(it.Blob, blob(i, size(i))) {
				t.Fatalf("item %d is another's", i)
			}
		}
	}
	step(func(int) int { return 200 })
	least := allocated()
	r := rand.New(rand.NewPCG(3, 4))
	for size := 200; size < 100_000; size += size / 3 {
		step(func(int) int { return size })
		if got, alive := allocated(), int64(size*items); got > least+3*alive+maxIdle+(1<<20) {
			t.Errorf("%d bytes for %d that are alive", got, alive)
		}
	}
	for range 20 {
		var sizes [items]int
		for i := range sizes {
			sizes[i] = 1 + r.IntN([]int{300, 20_000, 200_000}[r.IntN(3)])
		}
		step(func(i int) int { return sizes[i] })
	}
	step(func(int) int { return 200 })
	if got := allocated(); got > least+maxIdle+(1<<20) {
		t.Errorf("%d bytes are left of what grew, of %d", got, least)
	}
}

func BenchmarkTurn(b *testing.B) {
	j, err := New()
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	fds, _ := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	s, blob, buf := j.Add(), make([]byte, 200), make([]byte, 65536)
	b.Run("put and commit", func(b *testing.B) {
		for b.Loop() {
			j.Put(s, blob)
			j.Commit()
		}
	})
	b.Run("write and read", func(b *testing.B) {
		for b.Loop() {
			j.Put(s, blob)
			j.Commit()
			_, _ = j.Write(s, fds[0], blob)
			_, _ = j.Read(s, fds[1], buf)
			j.Commit()
		}
	})
	b.Run("write and read without", func(b *testing.B) {
		for b.Loop() {
			_, _ = unix.Write(fds[0], blob)
			_, _ = unix.Read(fds[1], buf)
		}
	})
}
