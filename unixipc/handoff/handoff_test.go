package handoff

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast/unixipc"
)

// patience is how long a side waits for the other in these tests.
const patience = 5 * time.Second

// stage is a Stager that keeps what it gets.
type stage struct {
	states map[uint64]string
	fds    map[uint64]int
	fail   string // the method that returns an error
	late   []Item
}

var errStage = errors.New("the stage does not want it")

func newStage() *stage { return &stage{states: map[uint64]string{}, fds: map[uint64]int{}} }

func (s *stage) failing(method string) error {
	if s.fail == method {
		return errStage
	}
	return nil
}

func (s *stage) Put(it Item) error {
	s.states[it.ID] = string(it.State)
	if it.FD >= 0 {
		s.fds[it.ID] = it.FD
	}
	return s.failing("Put")
}

func (s *stage) Update(id uint64, state []byte) error {
	s.states[id] = string(state)
	return s.failing("Update")
}

func (s *stage) Drop(id uint64) error {
	delete(s.states, id)
	s.close(id)
	return s.failing("Drop")
}

func (s *stage) Verify() error { return s.failing("Verify") }

func (s *stage) close(id uint64) {
	if fd, ok := s.fds[id]; ok {
		_ = syscall.Close(fd)
		delete(s.fds, id)
	}
}

func pair(t testing.TB) (old, new *net.UnixConn) {
	t.Helper()
	a, b, err := unixipc.SocketPair()
	if err != nil {
		t.Fatal(err)
	}
	conns := make([]*net.UnixConn, 2)
	for i, f := range []*os.File{a, b} {
		c, err := net.FileConn(f)
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		conns[i] = c.(*net.UnixConn)
		t.Cleanup(func() { _ = c.Close() })
	}
	return conns[0], conns[1]
}

// twoSides are an Old, and a New that receives on a goroutine of its own.
type twoSides struct {
	*Old
	stage *stage
	begun chan Begin
	new   chan error // what Receive returned
	both  [2]*net.UnixConn
}

func start(t testing.TB, st *stage) *twoSides {
	t.Helper()
	a, b := pair(t)
	s := &twoSides{Old: NewOld(a, patience), stage: st, begun: make(chan Begin, 1), new: make(chan error, 1), both: [2]*net.UnixConn{a, b}}
	go func() {
		n := NewNew(b)
		defer n.Close()
		begin, err := n.Hello(Hello{Program: "new", Versions: []uint8{1, 2}})
		if err == nil {
			s.begun <- begin
			err = n.Receive(st)
		}
		if err == nil {
			err = n.Late(func(it Item) {
				it.State = bytes.Clone(it.State)
				st.late = append(st.late, it)
			})
		}
		s.new <- err
	}()
	t.Cleanup(func() {
		s.Close()
		for id := range st.fds {
			st.close(id)
		}
	})
	return s
}

// began goes as far as BEGIN.
func (s *twoSides) began(t testing.TB) {
	t.Helper()
	h, err := s.Hello()
	if err != nil || h.Program != "new" {
		t.Fatal(h, err)
	}
	if err := s.Begin(Begin{Program: "old", Version: 2, Note: []byte("note")}); err != nil {
		t.Fatal(err)
	}
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// number is a file that holds a number, so that a file descriptor can be told
// from another.
func number(t testing.TB, n int) int {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	must(t, err)
	must(t, binary.Write(f, binary.BigEndian, int64(n)))
	t.Cleanup(func() { _ = f.Close() })
	return int(f.Fd())
}

func numberOf(t testing.TB, fd int) int {
	t.Helper()
	b := make([]byte, 8)
	if n, err := syscall.Pread(fd, b, 0); n != 8 || err != nil {
		t.Fatalf("file descriptor %d: %d, %v", fd, n, err)
	}
	return int(binary.BigEndian.Uint64(b))
}

func TestHandOver(t *testing.T) {
	st := newStage()
	s := start(t, st)
	s.began(t)
	if b := <-s.begun; b.Program != "old" || b.Version != 2 || string(b.Note) != "note" {
		t.Errorf("BEGIN: %+v", b)
	}
	// More than one message carries, and more than may be on the way.
	const n = 3 * maxOutstanding * unixipc.MaxFDs
	files := []int{number(t, 0), number(t, 1), number(t, 2)}
	for i := range n {
		fd := -1
		if i%5 != 0 {
			fd = files[i%3]
		}
		must(t, s.Put(Item{ID: uint64(i), FD: fd, State: fmt.Appendf(nil, "state %d", i)}))
	}
	must(t, s.Put(Item{ID: n, FD: -1, State: bytes.Repeat([]byte("x"), 4*maxBatch)}), s.Put(Item{ID: n + 1, FD: -1}), s.Flush())
	for i := range n {
		switch {
		case i%7 == 0:
			must(t, s.Drop(uint64(i)))
		case i%11 == 0:
			must(t, s.Update(uint64(i), fmt.Appendf(nil, "updated %d", i)))
		}
	}
	must(t, s.Seal(), s.Commit())
	must(t, s.Late(Item{ID: n + 2, FD: files[2], State: []byte("late")}), s.End())
	if err := <-s.new; err != nil {
		t.Fatal(err)
	}
	if len(st.late) != 1 || string(st.late[0].State) != "late" || numberOf(t, st.late[0].FD) != 2 {
		t.Errorf("late: %+v", st.late)
	}
	_ = syscall.Close(st.late[0].FD)
	want := 0
	for i := range n {
		id := uint64(i)
		if i%7 == 0 {
			if _, ok := st.states[id]; ok {
				t.Fatalf("item %d is still there", i)
			}
			continue
		}
		want++
		state := fmt.Sprintf("state %d", i)
		if i%11 == 0 {
			state = fmt.Sprintf("updated %d", i)
		}
		fd, ok := st.fds[id]
		if st.states[id] != state || ok != (i%5 != 0) || ok && numberOf(t, fd) != i%3 {
			t.Fatalf("item %d: %q, fd %d %v", i, st.states[id], fd, ok)
		}
	}
	if len(st.states) != want+2 || len(st.states[n]) != 4*maxBatch {
		t.Errorf("%d items, want %d", len(st.states), want+2)
	}
}

// Whatever the stager does not want reaches Old in its words, and is not
// committed.
func TestRefused(t *testing.T) {
	for _, method := range []string{"Put", "Update", "Drop", "Verify"} {
		t.Run(method, func(t *testing.T) {
			st := newStage()
			st.fail = method
			s := start(t, st)
			s.began(t)
			err := errors.Join(s.Put(Item{ID: 1, FD: -1, State: []byte("a")}), s.Put(Item{ID: 2, FD: -1}), s.Flush())
			if err == nil {
				err = errors.Join(s.Update(1, []byte("b")), s.Drop(2), s.Seal())
			}
			var refused *RefusedError
			if !errors.As(err, &refused) || !strings.Contains(refused.Why, errStage.Error()) {
				t.Errorf("Old got %v", err)
			}
			if err := <-s.new; !errors.Is(err, errStage) {
				t.Errorf("New returned %v", err)
			}
			if active, err := s.SawActive(); active || err != nil {
				t.Errorf("active: %v, %v", active, err)
			}
		})
	}
}

// hostile plays Old by hand.
type hostile struct {
	*net.UnixConn
	t testing.TB
}

func (h hostile) frame(typ unixipc.Type, ref uint64, payload []byte, fds ...int) {
	h.t.Helper()
	must(h.t, unixipc.SendFDs(h.UnixConn, unixipc.Frame{Type: typ, Ref: ref, Payload: payload}.Append(nil), fds))
}

func jsonOf(v any) []byte {
	b, _ := json.Marshal(v)
	return b
}

// New takes nothing over from an Old that lies or babbles.
func TestHostileOld(t *testing.T) {
	fd := number(t, 1)
	put := func(id uint64, fd int) []byte { return appendItem(nil, opPut, Item{ID: id, FD: fd}) }
	sealedOf := func(batch []byte, change func(*sealed)) []byte {
		s := sealed{Items: 1, Bytes: int64(len(batch))}
		s.Checksum = checksum(batch)
		change(&s)
		return jsonOf(s)
	}
	one := put(1, -1)
	for name, c := range map[string]struct {
		play func(h hostile)
		want string
	}{
		"garbage":             {func(h hostile) { _, _ = h.Write([]byte("garbage of any kind\n")) }, "garbage on the hand-over channel"},
		"frame of processors": {func(h hostile) { h.frame(unixipc.Message, 1, nil) }, "garbage on the hand-over channel"},
		"COMMIT at once":      {func(h hostile) { h.frame(frameCommit, 0, nil) }, "COMMIT has no business before"},
		"ACTIVE":              {func(h hostile) { h.frame(frameActive, 0, nil) }, "ACTIVE has no business before"},
		"END":                 {func(h hostile) { h.frame(frameEnd, 0, nil) }, "END has no business before"},
		"goes":                {func(h hostile) { _ = h.CloseWrite() }, "closed the hand-over channel"},
		"half an item":        {func(h hostile) { h.frame(frameItems, 1, one[:9]) }, "item of 9 bytes"},
		"item too long":       {func(h hostile) { h.frame(frameItems, 1, binary.BigEndian.AppendUint32(slices.Clone(one[:10]), 99)) }, "ends behind its batch"},
		"unknown operation":   {func(h hostile) { h.frame(frameItems, 1, append([]byte{9}, one[1:]...)) }, "item with operation 9"},
		"update of nothing":   {func(h hostile) { h.frame(frameItems, 1, appendItem(nil, opUpdate, Item{ID: 1, FD: -1})) }, "on what is there, or not"},
		"drop of nothing":     {func(h hostile) { h.frame(frameItems, 1, appendItem(nil, opDrop, Item{ID: 1, FD: -1})) }, "on what is there, or not"},
		"put twice":           {func(h hostile) { h.frame(frameItems, 1, append(slices.Clone(one), one...)) }, "on what is there, or not"},
		"fd is missing":       {func(h hostile) { h.frame(frameItems, 1, put(1, 0)) }, "a file descriptor is missing"},
		"fd of nothing": {func(h hostile) {
			h.frame(frameItems, 1, one, fd)
			h.frame(frameSealed, 0, sealedOf(one, func(*sealed) {}))
		}, "belong to nothing"},
		"fewer items": {func(h hostile) {
			h.frame(frameItems, 1, one)
			h.frame(frameSealed, 0, sealedOf(one, func(s *sealed) { s.Items++ }))
		}, "was sent"},
		"fewer fds": {func(h hostile) {
			h.frame(frameItems, 1, one)
			h.frame(frameSealed, 0, sealedOf(one, func(s *sealed) { s.FDs++ }))
		}, "was sent"},
		"fewer bytes": {func(h hostile) {
			h.frame(frameItems, 1, one)
			h.frame(frameSealed, 0, sealedOf(one, func(s *sealed) { s.Bytes++ }))
		}, "was sent"},
		"other bytes": {func(h hostile) {
			h.frame(frameItems, 1, one)
			h.frame(frameSealed, 0, sealedOf(one, func(s *sealed) { s.Checksum++ }))
		}, "was sent"},
		"SEALED is no JSON": {func(h hostile) { h.frame(frameSealed, 0, []byte("{")) }, "SEALED"},
		"goes before COMMIT": {func(h hostile) {
			h.frame(frameItems, 1, one)
			h.frame(frameSealed, 0, sealedOf(one, func(*sealed) {}))
			_ = h.CloseWrite()
		}, "wait for COMMIT"},
		"SEALED twice": {func(h hostile) {
			h.frame(frameItems, 1, one)
			s := sealedOf(one, func(*sealed) {})
			h.frame(frameSealed, 0, s)
			h.frame(frameSealed, 0, s)
		}, "wait for COMMIT: got SEALED"},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t)
			n := NewNew(b)
			h := hostile{a, t}
			h.frame(frameBegin, 0, jsonOf(Begin{Version: 1}))
			if _, err := n.Hello(Hello{Versions: []uint8{1}}); err != nil {
				t.Fatal(err)
			}
			c.play(h)
			st := newStage()
			must(t, b.SetDeadline(time.Now().Add(patience)))
			err := n.Receive(st)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			n.Close()
			o := NewOld(a, patience)
			if active, err := o.SawActive(); active || err != nil {
				t.Errorf("active: %v, %v", active, err)
			}
		})
	}
}

// Old goes on with nothing but what the protocol has next.
func TestHostileNew(t *testing.T) {
	hello := unixipc.Frame{Type: frameHello, Payload: jsonOf(Hello{Program: "new", Versions: []uint8{1}})}
	took := unixipc.Frame{Type: frameTook, Ref: 1}
	prepared := unixipc.Frame{Type: framePrepared}
	// As far as Old goes: an error says where it stopped.
	run := func(o *Old) error {
		if _, err := o.Hello(); err != nil {
			return fmt.Errorf("HELLO: %w", err)
		}
		if err := errors.Join(o.Begin(Begin{Version: 1}), o.Put(Item{ID: 1, FD: -1}), o.Flush()); err != nil {
			return fmt.Errorf("PRECOPY: %w", err)
		}
		if err := o.Seal(); err != nil {
			return fmt.Errorf("SEALED: %w", err)
		}
		return o.Commit()
	}
	for typ := range maps.Keys(frameNames) {
		for at, before := range map[string][]unixipc.Frame{
			"HELLO": nil, "PRECOPY": {hello}, "SEALED": {hello, took}, "doubt": {hello, took, prepared},
		} {
			next := map[string]unixipc.Type{"HELLO": frameHello, "PRECOPY": frameTook, "SEALED": framePrepared, "doubt": frameActive}[at]
			if typ == next {
				continue
			}
			t.Run(fmt.Sprintf("%s/%s", at, frameNames[typ]), func(t *testing.T) {
				a, b := pair(t)
				for _, f := range append(before, unixipc.Frame{Type: typ, Ref: 7, Payload: []byte("text")}) {
					_, err := b.Write(f.Append(nil))
					must(t, err)
				}
				o := NewOld(a, patience)
				err := run(o)
				var refused *RefusedError
				switch {
				case err == nil:
					t.Fatal("Old believes that it is over")
				case errors.As(err, &refused) != (typ == frameRefused):
					t.Errorf("%v", err)
				case errors.Is(err, ErrInDoubt) != (at == "doubt"):
					t.Errorf("in doubt at %s: %v", at, err)
				case at != "doubt" && !strings.HasPrefix(err.Error(), at):
					t.Errorf("at %s: %v", at, err)
				}
			})
		}
	}
	for name, bad := range map[string]string{"no JSON": "{", "empty": "", "array": "[1]", "versions too large": `{"versions":[300]}`} {
		t.Run("HELLO/"+name, func(t *testing.T) {
			a, b := pair(t)
			_, err := b.Write(unixipc.Frame{Type: frameHello, Payload: []byte(bad)}.Append(nil))
			must(t, err)
			if _, err := NewOld(a, patience).Hello(); err == nil || !strings.Contains(err.Error(), "HELLO of the new process") {
				t.Errorf("%v", err)
			}
		})
	}
	t.Run("PRECOPY/TOOK of another batch", func(t *testing.T) {
		a, b := pair(t)
		_, err := b.Write(append(hello.Append(nil), unixipc.Frame{Type: frameTook, Ref: 2}.Append(nil)...))
		must(t, err)
		if err := run(NewOld(a, patience)); err == nil || !strings.Contains(err.Error(), "TOOK of batch 2 instead of 1") {
			t.Errorf("%v", err)
		}
	})
}

// A New that says nothing is waited for so long, and no longer.
func TestSilentNew(t *testing.T) {
	a, _ := pair(t)
	o := NewOld(a, 50*time.Millisecond)
	if _, err := o.Hello(); err == nil || !strings.Contains(err.Error(), "no HELLO from the new process within the time-out") {
		t.Errorf("%v", err)
	}
	// It takes nothing either: the socket is full at some point.
	must(t, o.Begin(Begin{}))
	var err error
	for id := uint64(0); err == nil; id++ {
		err = o.Put(Item{ID: id, FD: -1, State: make([]byte, maxBatch)})
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) && !strings.Contains(err.Error(), "within the time-out") {
		t.Errorf("%v", err)
	}
}

// Only ACTIVE says that New has become active, however the channel looks.
func TestSawActive(t *testing.T) {
	for _, active := range []bool{false, true} {
		for _, closed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v, closed %v", active, closed), func(t *testing.T) {
				a, b := pair(t)
				o := NewOld(a, time.Millisecond)
				frames := unixipc.Frame{Type: framePrepared}.Append(nil)
				if active {
					frames = unixipc.Frame{Type: frameActive}.Append(frames)
				}
				_, err := b.Write(frames)
				must(t, err)
				if closed {
					_ = b.Close()
				}
				must(t, a.SetDeadline(time.Unix(1, 0))) // a time-out has passed
				if got, err := o.SawActive(); got != active || err != nil {
					t.Errorf("%v, %v", got, err)
				}
			})
		}
	}
	t.Run("shut for reading", func(t *testing.T) { // as when New is known to be dead
		a, b := pair(t)
		o := NewOld(a, patience)
		_, err := b.Write(unixipc.Frame{Type: frameActive}.Append(nil))
		must(t, err)
		must(t, o.CloseRead())
		if got, err := o.SawActive(); !got || err != nil {
			t.Errorf("%v, %v", got, err)
		}
	})
	t.Run("garbage", func(t *testing.T) {
		a, b := pair(t)
		_, err := b.Write([]byte("garbage"))
		must(t, err)
		if got, err := NewOld(a, patience).SawActive(); !got || err == nil {
			t.Errorf("%v, %v: not known, so the worse is to be assumed", got, err)
		}
	})
}

// Old's end after ACTIVE is no fault, with or without END.
func TestOldGoesAfterActive(t *testing.T) {
	for _, end := range []bool{false, true} {
		s := start(t, newStage())
		s.began(t)
		must(t, s.Put(Item{ID: 1, FD: -1}), s.Seal(), s.Commit())
		if end {
			must(t, s.End())
		}
		s.Close()
		if err := <-s.new; err != nil {
			t.Errorf("END %v: %v", end, err)
		}
	}
}

// File descriptors that find no room are noticed, and refuse the hand-over.
func TestTruncatedFDs(t *testing.T) {
	st := newStage()
	s := start(t, st)
	s.began(t)
	fd := number(t, 1)
	const n = 100
	for i := range n {
		must(t, s.Put(Item{ID: uint64(i), FD: fd}))
	}
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	var was syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was))
	must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: uint64(len(entries) + n/2), Max: was.Max}))
	err = s.Flush()
	newErr := <-s.new
	must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was))
	if !errors.Is(newErr, unixipc.ErrTruncatedFDs) {
		t.Errorf("New: %v", newErr)
	}
	var refused *RefusedError
	if !errors.As(err, &refused) || !strings.Contains(refused.Why, "truncated") {
		t.Errorf("Old: %v", err)
	}
}

// What New has received and not taken is closed with it.
func TestNoFDLeaks(t *testing.T) {
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		return len(entries)
	}
	fd := number(t, 1)
	a, b := pair(t)
	before := count()
	h := hostile{a, t}
	h.frame(frameBegin, 0, jsonOf(Begin{}))
	h.frame(frameItems, 1, appendItem(nil, opPut, Item{ID: 1, FD: -1}), fd, fd, fd)
	h.frame(frameCommit, 0, nil)
	n := NewNew(b)
	if _, err := n.Hello(Hello{}); err != nil {
		t.Fatal(err)
	}
	if err := n.Receive(newStage()); err == nil {
		t.Fatal("received")
	}
	n.Close() // its own end, too
	if after := count(); after != before-1 {
		t.Errorf("%d file descriptors, before %d", after, before)
	}
}

func TestSpeak(t *testing.T) {
	for _, c := range []struct {
		reads, writes []uint8
		want          uint8
	}{
		{[]uint8{1}, []uint8{1}, 1},
		{[]uint8{1, 2}, []uint8{1, 2}, 2},
		{[]uint8{2, 3}, []uint8{1, 2}, 2},
		{[]uint8{3}, []uint8{1, 2}, 0},
		{nil, []uint8{1}, 0},
	} {
		got, err := Hello{Program: "x", Versions: c.reads}.Speak(c.writes)
		if got != c.want || (err != nil) != (c.want == 0) {
			t.Errorf("%v, %v: %d, %v", c.reads, c.writes, got, err)
		}
	}
}

func FuzzParseItem(f *testing.F) {
	f.Add(appendItem(nil, opPut, Item{ID: 1, FD: 0, State: []byte("state")}))
	f.Add(appendItem(appendItem(nil, opUpdate, Item{ID: 2, FD: -1}), opDrop, Item{ID: 2, FD: -1}))
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			o, hasFD, it, rest, err := parseItem(b)
			if err != nil {
				return
			}
			if hasFD {
				it.FD = 0
			}
			if again := appendItem(nil, o, it); !bytes.Equal(again, b[:len(b)-len(rest)]) {
				t.Fatalf("%x became %x", b[:len(b)-len(rest)], again)
			}
			b = rest
		}
	})
}

// Nothing that comes from Old makes New active but a COMMIT behind a SEALED that
// fits; nor does it crash or hang.
func FuzzNew(f *testing.F) {
	batch := appendItem(nil, opPut, Item{ID: 1, FD: -1, State: []byte("state")})
	good := unixipc.Frame{Type: frameItems, Ref: 1, Payload: batch}.Append(nil)
	good = unixipc.Frame{Type: frameSealed, Payload: jsonOf(sealed{Items: 1, Bytes: int64(len(batch)), Checksum: checksum(batch)})}.Append(good)
	f.Add(good)
	f.Add(unixipc.Frame{Type: frameCommit}.Append(bytes.Clone(good)))
	f.Add([]byte("garbage"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 64<<10 {
			return // more than the socket takes at once
		}
		x, y := pair(t)
		n := NewNew(y)
		defer n.Close()
		go func() {
			_, _ = x.Write(b)
			_ = x.CloseWrite()
		}()
		if n.Receive(newStage()) == nil && !bytes.Contains(b, []byte{byte(frameSealed)}) {
			t.Fatal("active without a SEALED")
		}
	})
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }
