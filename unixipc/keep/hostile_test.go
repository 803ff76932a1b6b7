package keep

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// hostile is what somebody sends, and what the keeper has against it.
type hostile struct {
	name  string
	bytes []byte
	fds   []int
	want  string
}

func idsOf(k kind, ids ...uint64) []byte {
	b := []byte{byte(k)}
	for _, id := range ids {
		b = append(b, 0, 0, 0, 0, 0, 0, 0, byte(id))
	}
	return b
}

// Whatever comes, it is refused with a reason, the items stay, and no file descriptor is
// left over.
func TestHostile(t *testing.T) {
	path := startKeeper(t, time.Minute)
	null, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	pidfd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		t.Fatal(err)
	}
	parent, err := unix.PidfdOpen(os.Getppid(), 0)
	if err != nil {
		t.Fatal(err)
	}
	memory := newMemory("other")
	many := slices.Repeat([]int{null}, 253)

	anybody := []hostile{
		{"nothing", []byte{}, nil, "an empty message"},
		{"fds alone", []byte{}, []int{null, null}, "unknown type 0x00"}, // package unix adds a byte
		{"unknown", []byte{0x77}, []int{null}, "unknown type 0x77"},
		{"long", make([]byte, maxMessage+1), many, "too long"},
		{"END", []byte{byte(msgEnd)}, nil, "END without a CLAIM"},
		{"REFUSED", []byte{byte(msgRefused)}, nil, "REFUSED without a CLAIM"},
		{"PUT", idsOf(msgPut, 1), []int{null}, "PUT without a CLAIM"},
		{"DROP", idsOf(msgDrop, 1), nil, "DROP without a CLAIM"},
		{"VALID", []byte{byte(msgValid)}, []int{memory, pidfd}, "VALID without a CLAIM"},
		{"TOOK", []byte{byte(msgTook)}, nil, "TOOK without a CLAIM"},
		{"CLAIM of nobody", []byte{byte(msgClaim), version}, nil, "CLAIM of 1 bytes with 0 file descriptors"},
		{"CLAIM of two", []byte{byte(msgClaim), version}, []int{pidfd, pidfd}, "with 2 file descriptors"},
		{"CLAIM of a file", []byte{byte(msgClaim), version}, []int{null}, "is none"},
		{"CLAIM for another", []byte{byte(msgClaim), version}, []int{parent}, fmt.Sprintf("claims for process %d", os.Getppid())},
		{"CLAIM of a later version", []byte{byte(msgClaim), version + 1}, []int{pidfd}, "speaks version 1"},
		{"CLAIM without a version", []byte{byte(msgClaim)}, []int{pidfd}, "payload of 0 bytes"},
	}
	owners := []hostile{
		{"nothing", []byte{}, nil, "an empty message"},
		{"unknown", []byte{0}, many, "unknown type 0x00"},
		{"long", make([]byte, maxMessage+1), many, "too long"},
		{"longest", make([]byte, maxMessage), nil, "unknown type 0x00"},
		{"STATE", []byte{byte(msgState), 1, 0, 0, 0, 0}, nil, "STATE is not for the keeper"},
		{"ITEMS", idsOf(msgItems, 7), []int{null}, "ITEMS is not for the keeper"},
		{"TOOK", []byte{byte(msgTook)}, nil, "TOOK while claimed"},
		{"CLAIM", []byte{byte(msgClaim), version}, []int{pidfd}, "a second CLAIM"},
		{"PUT of nothing", idsOf(msgPut), nil, "PUT without an id"},
		{"PUT of half an id", idsOf(msgPut, 7)[:5], nil, "PUT without an id"},
		{"PUT of an id and a half", idsOf(msgPut, 7, 8)[:12], []int{null}, "payload of 11 bytes"},
		{"PUT without fd", idsOf(msgPut, 7), nil, "with 0 file descriptors"},
		{"PUT with one too many", idsOf(msgPut, 7), []int{null, null}, "with 2 file descriptors"},
		{"PUT with one too few", idsOf(msgPut, 7, 8), []int{null}, "with 1 file descriptors"},
		{"PUT of what exists", idsOf(msgPut, 7, 2), []int{null, null}, "PUT of item 2, which exists"},
		{"PUT twice", idsOf(msgPut, 7, 8, 7), []int{null, null, null}, "PUT of item 7, which exists"},
		{"DROP of nothing", idsOf(msgDrop), nil, "DROP without an id"},
		{"DROP with fds", idsOf(msgDrop, 1), []int{null}, "with 1 file descriptors"},
		{"DROP of what does not exist", idsOf(msgDrop, 1, 7), nil, "DROP of item 7, which does not exist"},
		{"DROP twice", idsOf(msgDrop, 1, 1), nil, "DROP of item 1, which does not exist"},
		{"VALID of nothing", []byte{byte(msgValid)}, nil, "with 0 file descriptors"},
		{"VALID of memory alone", []byte{byte(msgValid)}, []int{memory}, "with 1 file descriptors"},
		{"VALID with a file for memory", []byte{byte(msgValid)}, []int{null, pidfd}, "a memory that is none"},
		{"VALID with a file for pidfd", []byte{byte(msgValid)}, []int{memory, null}, "pidfd is none"},
		{"VALID with a payload", []byte{byte(msgValid), 1}, []int{memory, pidfd}, "payload of 1 bytes"},
	}

	o, _ := claim(t, path)
	put(t, o, []Item{{1, null}, {2, null}, {3, null}})
	if err := o.Valid(newMemory("state")); err != nil {
		t.Fatal(err)
	}
	_ = o.Close()
	o, in := claim(t, path)
	in.Close()
	_ = o.Close()
	files := openFiles(t)
	for _, h := range anybody {
		fd, err := connect(path, time.Now().Add(patience))
		if err != nil {
			t.Fatal(err)
		}
		o := &Owner{fd: fd}
		if err := send(fd, h.bytes, h.fds); err != nil {
			t.Fatalf("%s: %v", h.name, err)
		}
		if why := refusal(t, o); !strings.Contains(why, h.want) {
			t.Errorf("%s: %q, want %q", h.name, why, h.want)
		}
		_ = o.Close()
	}
	for _, valid := range []bool{false, true} {
		for _, h := range owners {
			o, in := claim(t, path)
			wantItems(t, in, "1,2,3 state")
			in.Close()
			if valid {
				m := newMemory("state")
				if err := o.Valid(m); err != nil {
					t.Fatal(err)
				}
				_ = unix.Close(m)
				h.want = strings.ReplaceAll(h.want, "while claimed", "while owned")
			}
			if err := send(o.FD(), h.bytes, h.fds); err != nil {
				t.Fatalf("%s: %v", h.name, err)
			}
			if why := refusal(t, o); !strings.Contains(why, h.want) {
				t.Errorf("%s: %q, want %q", h.name, why, h.want)
			}
			if n, err := o.Put([]Item{{9, null}}); n != 0 || err == nil {
				t.Errorf("%s: a later Put: %d, %v", h.name, n, err)
			}
			_ = o.Close()
		}
	}
	o, in = claim(t, path)
	wantItems(t, in, "1,2,3 state")
	in.Close()
	_ = o.Close()
	o, in = claim(t, path) // whatever was closed is closed now
	in.Close()
	_ = o.Close()
	if now := openFiles(t); now > files+1 {
		t.Errorf("%d files are open, %d were", now, files)
	}
}

// A claimant does what claimants may not.
func TestHostileClaimant(t *testing.T) {
	path := startKeeper(t, time.Minute)
	s, _ := socketPair(t)
	o, _ := claim(t, path)
	put(t, o, []Item{{1, s}})
	_ = o.Close()
	for _, h := range []hostile{
		{"PUT", idsOf(msgPut, 7), []int{s}, "PUT while claiming"},
		{"DROP", idsOf(msgDrop, 1), nil, "DROP while claiming"},
		{"two TOOK", []byte{byte(msgTook)}, nil, "TOOK while claimed"},
	} {
		fd, err := connect(path, time.Now().Add(patience))
		if err != nil {
			t.Fatal(err)
		}
		pidfd, err := unix.PidfdOpen(os.Getpid(), 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := send(fd, message{kind: msgClaim, version: version}.append(nil), []int{pidfd}); err != nil {
			t.Fatal(err)
		}
		_ = unix.Close(pidfd)
		raw(t, fd, 2) // STATE and ITEMS
		for range 2 {
			_ = send(fd, h.bytes, h.fds)
		}
		seen := raw(t, fd, 1)
		if kind(seen[0]) == msgEnd {
			seen = raw(t, fd, 1)
		}
		if kind(seen[0]) != msgRefused || !bytes.Contains(seen, []byte(h.want)) {
			t.Errorf("%s: %q, want %q", h.name, seen, h.want)
		}
		_ = unix.Close(fd)
	}
	o, in := claim(t, path)
	wantItems(t, in, "1 -")
	in.Close()
	_ = o.Close()
}

// raw receives a number of messages, and returns the last.
func raw(t *testing.T, fd, n int) (b []byte) {
	t.Helper()
	for range n {
		if !wait(fd, unix.POLLIN, time.Now().Add(patience)) {
			t.Fatal("nothing comes")
		}
		b = make([]byte, maxMessage)
		size, fds, err := receive(fd, b, make([]byte, controlSize))
		closeAll(fds)
		if err != nil {
			t.Fatal(err)
		}
		b = b[:size]
	}
	return b
}

// More connections than there may be do not lock the owner's successor out for long.
func TestCrowd(t *testing.T) {
	t.Parallel()
	path := startKeeper(t, time.Minute)
	var crowd []*Owner
	for range maxConns + 1 {
		fd, err := connect(path, time.Now().Add(patience))
		if err != nil {
			t.Fatal(err)
		}
		crowd = append(crowd, &Owner{fd: fd})
	}
	if why := refusal(t, crowd[maxConns]); !strings.Contains(why, "connections already") {
		t.Errorf("refused: %s", why)
	}
	if why := refusal(t, crowd[0]); !strings.Contains(why, "no CLAIM within") {
		t.Errorf("refused: %s", why)
	}
	for _, o := range crowd {
		_ = o.Close()
	}
	o, _ := claim(t, path)
	_ = o.Close()
}

// A claimant that sleeps in the midst of its claim loses its connection; it may claim again.
func TestClaimantSleeps(t *testing.T) {
	t.Parallel()
	path := startKeeper(t, time.Minute)
	s, _ := socketPair(t)
	o, _ := claim(t, path)
	put(t, o, []Item{{1, s}})
	_ = o.Close()
	fd, err := connect(path, time.Now().Add(patience))
	if err != nil {
		t.Fatal(err)
	}
	pidfd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := send(fd, message{kind: msgClaim, version: version}.append(nil), []int{pidfd}); err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(pidfd)
	raw(t, fd, 2) // STATE and ITEMS
	if why := refusal(t, &Owner{fd: fd}); !strings.Contains(why, "no TOOK within") {
		t.Errorf("refused: %s", why)
	}
	_ = unix.Close(fd)
	o, in := claim(t, path)
	wantItems(t, in, "1 -")
	in.Close()
	_ = o.Close()
}
