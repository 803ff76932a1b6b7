package conn

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"holdfast/unixipc/journal"
)

// What was written before a crash need not be written again. What of it somebody waits
// for is still reported, also by the process after the next.
func TestResettleWritten(t *testing.T) {
	loop, err := NewLoop(Config{}, nobody{})
	if err != nil {
		t.Fatal(err)
	}
	defer loop.Close()
	j, err := journal.New()
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	loop.Save(j, func() {})
	for _, last := range []uint64{0, 7} {
		for _, written := range []int{0, 3, 7} {
			t.Run(fmt.Sprintf("last %d, %d written", last, written), func(t *testing.T) {
				fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
				if err != nil {
					t.Fatal(err)
				}
				defer unix.Close(fds[1])
				state := held(func(s *State) { s.out = &outbound{buf: []byte("7 bytes"), last: last} })
				c, err := loop.Adopt(fds[0], state.append(nil, 0), nil)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Unstage()
				c.Resettle(1, written)
				again, _, err := parseSaved(c)
				if err != nil {
					t.Fatal(err)
				}
				switch o := again.out; {
				case o == nil && (written < 7 || last > 0):
					t.Error("nothing is left")
				case o != nil && (o.waiting() != 7-written || o.last != last || o.base != uint64(written)):
					t.Errorf("%d left at %d, of %d", o.waiting(), o.base, o.last)
				}
			})
		}
	}
}

func parseSaved(c *Conn) (State, tick, error) {
	b, _ := c.AppendSaved(nil)
	return parseState(b)
}

// A long message that is half received is written down once, whatever comes of it: each
// version has as much of it as there was, and the next process goes on behind it.
func TestMessageWrittenDownApart(t *testing.T) {
	loop, err := NewLoop(Config{MaxMessage: 1 << 20, MemoryLimit: 1 << 30}, nobody{})
	if err != nil {
		t.Fatal(err)
	}
	defer loop.Close()
	j, err := journal.New()
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	loop.Save(j, func() {})
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[1])
	c, err := loop.Add(fds[0], held(func(*State) {}), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Keep()
	long := []byte(strings.Repeat("löng", 40_000))
	var frame []byte
	for i := 0; i < len(long); i += 25_000 {
		op := opContinuation
		if i == 0 {
			op = opText
		}
		frame = clientFrame{op: op, more: i+25_000 < len(long), payload: long[i:min(i+25_000, len(long))]}.append(frame)
	}
	written := 0
	for n := 0; n < len(frame)-1; n += 1999 {
		c.ingest(append([]byte(nil), frame[n:min(n+1999, len(frame)-1)]...), false)
		blob, apart := c.AppendSaved(nil)
		written += len(blob)
		if apart == nil {
			j.Put(c.Slot(), blob)
		} else {
			j.PutWith(c.Slot(), blob, apart)
		}
		j.Commit()
		left, err := journal.Open(j.FD())
		if err != nil || len(left.Items) != 1 {
			t.Fatalf("%v, %d items", err, len(left.Items))
		}
		s, _, err := parseAddition(left.Items[0].Blob, &State{}, left.Items[0].Extra)
		if err != nil {
			t.Fatalf("behind %d bytes: %v", n, err)
		}
		if got, want := string(s.decoder.part.msg), string(c.decoder.part.msg); got != want {
			t.Fatalf("behind %d bytes: %d of the message, want %d", n, len(got), len(want))
		}
		left.Close()
	}
	if written > 100_000 {
		t.Errorf("%d bytes were written besides the message", written)
	}
	c.closeNow(Close{Code: CodeGoingAway, By: ByOperator})
}
