package conn

import (
	"fmt"
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
				again, _, err := parseState(c.AppendSaved(nil))
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
