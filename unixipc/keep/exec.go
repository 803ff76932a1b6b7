package keep

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/unixipc"
)

// StateEnv is the environment variable that has the number of the memfd.
const StateEnv = "HOLDFAST_KEEPER_STATE"

const (
	savedVersion = 1
	// maxSaved is the longest state, in bytes: some 25 for an item.
	maxSaved = 256 << 20
	// firstFD is the lowest file descriptor that can be kept.
	firstFD = 3
)

// saved is all of a Keeper. Of a time limit it has what is left, or it begins anew.
type saved struct {
	Version  int         `json:"version"`
	Path     string      `json:"path"`
	Listener int         `json:"listener"`
	Memory   int         `json:"memory"` // -1: none
	IDs      []uint64    `json:"ids"`
	FDs      []int32     `json:"fds"`     // in the order of IDs
	EndsMS   int64       `json:"ends_ms"` // -1: an owner lives, or there is nothing
	Owner    savedOwner  `json:"owner"`
	Conns    []savedConn `json:"conns"` // but for the owner's
}

type savedOwner struct {
	State      state     `json:"state"`
	Conn       savedConn `json:"conn"`  // fd -1: none
	PIDFD      int       `json:"pidfd"` // -1: dead
	PID        int       `json:"pid"`
	Stated     bool      `json:"stated"`
	Unsent     []uint64  `json:"unsent"`
	Unanswered int       `json:"unanswered"`
	Held       []uint64  `json:"held"`
}

type savedConn struct {
	FD    int          `json:"fd"`
	Peer  unixipc.Peer `json:"peer"`
	Claim int          `json:"claim"` // -1: none
}

// Exec replaces the program of this process. It returns only if that fails; the keeper
// goes on then. The environment is that of the process.
func (k *Keeper) Exec(path string, args []string) error {
	s := k.save()
	memory, err := s.write()
	if err != nil {
		return fmt.Errorf("keeper: state: %w", err)
	}
	fds := append(s.fds(), memory)
	defer func() {
		for _, fd := range fds {
			unix.CloseOnExec(fd)
		}
		_ = unix.Close(memory)
	}()
	for _, fd := range fds {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return fmt.Errorf("keeper: file descriptor %d: %w", fd, err)
		}
	}
	if err := syscall.Exec(path, args, append(os.Environ(), StateEnv+"="+strconv.Itoa(memory))); err != nil {
		return fmt.Errorf("keeper: exec %s: %w", path, err)
	}
	return nil // not reached
}

func (k *Keeper) save() *saved {
	o := &k.owner
	s := &saved{
		Version: savedVersion, Path: k.path, Listener: k.listener, Memory: k.memory, EndsMS: -1,
		IDs: make([]uint64, 0, len(k.items)), FDs: make([]int32, 0, len(k.items)),
		Owner: savedOwner{
			State: o.state, Conn: savedConn{FD: -1, Claim: -1}, PIDFD: o.pidfd, PID: o.pid,
			Stated: o.stated, Unsent: o.unsent, Unanswered: o.unanswered,
		},
	}
	for id, fd := range k.items {
		s.IDs, s.FDs = append(s.IDs, id), append(s.FDs, fd)
	}
	if !k.ends.IsZero() {
		s.EndsMS = max(0, time.Until(k.ends).Milliseconds())
	}
	for id := range o.held {
		s.Owner.Held = append(s.Owner.Held, id)
	}
	for _, c := range k.conns {
		if one := (savedConn{c.fd, c.peer, c.claim}); c == o.conn {
			s.Owner.Conn = one
		} else {
			s.Conns = append(s.Conns, one)
		}
	}
	return s
}

// fds are all file descriptors of s.
func (s *saved) fds() []int {
	all := []int{s.Listener, s.Memory, s.Owner.PIDFD, s.Owner.Conn.FD}
	for _, c := range s.Conns {
		all = append(all, c.FD, c.Claim)
	}
	for _, fd := range s.FDs {
		all = append(all, int(fd))
	}
	return slices.DeleteFunc(all, func(fd int) bool { return fd == -1 })
}

// write returns a memfd with s in it.
func (s *saved) write() (fd int, err error) {
	b, err := json.Marshal(s)
	if err != nil {
		return -1, err
	}
	if fd, err = unix.MemfdCreate("holdfast-keeper", unix.MFD_CLOEXEC); err != nil {
		return -1, err
	}
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			_ = unix.Close(fd)
			return -1, err
		}
		b = b[n:]
	}
	return fd, nil
}

// Resume returns the Keeper that called Exec, and nil if none has: the environment says
// so, and is cleared of it. After an error everything that was kept is closed, and lost.
func Resume(o Options) (*Keeper, error) {
	value, set := os.LookupEnv(StateEnv)
	if !set {
		return nil, nil
	}
	_ = os.Unsetenv(StateEnv)
	s, err := readSaved(value)
	if err != nil {
		closeInherited()
		return nil, fmt.Errorf("keeper: the state that the program before has left cannot be read, and everything that was kept is lost: %w", err)
	}
	for _, fd := range s.fds() {
		unix.CloseOnExec(fd)
	}
	return s.restore(o), nil
}

// readSaved reads and verifies.
func readSaved(value string) (*saved, error) {
	fd, err := strconv.Atoi(value)
	if err != nil || fd < firstFD || !isMemory(fd) {
		return nil, fmt.Errorf("%s=%q is not the number of a memfd", StateEnv, value)
	}
	f := os.NewFile(uintptr(fd), "holdfast-keeper")
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.NewSectionReader(f, 0, maxSaved))
	if err != nil {
		return nil, err
	}
	s := &saved{Listener: -1, Memory: -1, EndsMS: -1, Owner: savedOwner{Conn: savedConn{FD: -1, Claim: -1}, PIDFD: -1}}
	if err := json.Unmarshal(b, s); err != nil {
		return nil, err
	}
	return s, s.verify()
}

// verify reports what is wrong with s: file descriptors that are not open, or not what
// they should be, and a state that cannot be.
func (s *saved) verify() error {
	o := &s.Owner
	switch {
	case s.Version != savedVersion:
		return fmt.Errorf("version %d of the state; this program reads version %d", s.Version, savedVersion)
	case len(s.IDs) != len(s.FDs):
		return fmt.Errorf("%d ids of %d items", len(s.IDs), len(s.FDs))
	case !slices.Contains([]state{nobody, claiming, claimed, owned}, o.State):
		return fmt.Errorf("state %q", o.State)
	case o.State == nobody && (o.PIDFD >= 0 || o.Conn.FD >= 0),
		o.State != nobody && o.PIDFD < 0 && (o.Conn.FD < 0 || o.State != owned),
		o.State != claiming && (len(o.Unsent) > 0 || o.Unanswered != 0),
		o.Unanswered < 0 || o.Unanswered > maxUnanswered,
		o.State != claimed && len(o.Held) > 0:
		return fmt.Errorf("owner %+v", *o)
	}
	seen := make(map[int]bool)
	for _, fd := range s.fds() {
		if fd < firstFD || seen[fd] {
			return fmt.Errorf("file descriptor %d is none, or there twice", fd)
		}
		seen[fd] = true
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
			return fmt.Errorf("file descriptor %d: %w", fd, err)
		}
	}
	if listens, err := unix.GetsockoptInt(s.Listener, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || listens == 0 {
		return errors.New("the listener does not listen")
	}
	if s.Memory >= 0 && !isMemory(s.Memory) {
		return errors.New("the memory is none")
	}
	for _, pidfd := range append([]int{o.PIDFD}, claims(s.Conns)...) {
		if _, err := pidOf(pidfd); pidfd >= 0 && err != nil {
			return err
		}
	}
	items := make(map[uint64]bool, len(s.IDs))
	for _, id := range s.IDs {
		if items[id] {
			return fmt.Errorf("item %d is there twice", id)
		}
		items[id] = true
	}
	for _, id := range slices.Concat(o.Unsent, o.Held) {
		if !items[id] {
			return fmt.Errorf("item %d does not exist", id)
		}
	}
	return nil
}

func claims(conns []savedConn) (pidfds []int) {
	for _, c := range conns {
		pidfds = append(pidfds, c.Claim)
	}
	return pidfds
}

// restore makes a Keeper of s.
func (s *saved) restore(opts Options) *Keeper {
	k := newKeeper(opts)
	k.path, k.listener, k.memory = s.Path, s.Listener, s.Memory
	for i, id := range s.IDs {
		if k.items[id] = s.FDs[i]; s.FDs[i] == noRoom {
			k.without++
		}
	}
	if s.EndsMS >= 0 {
		k.ends = k.now.Add(time.Duration(s.EndsMS) * time.Millisecond)
	}
	connOf := func(c savedConn) *conn {
		limit := claimLimit
		if c.Claim >= 0 {
			limit = deathLimit
		}
		return &conn{fd: c.FD, peer: c.Peer, claim: c.Claim, deadline: k.now.Add(limit)}
	}
	k.owner = owner{
		state: s.Owner.State, pidfd: s.Owner.PIDFD, pid: s.Owner.PID,
		stated: s.Owner.Stated, unsent: s.Owner.Unsent, unanswered: s.Owner.Unanswered,
		stall: k.now.Add(tookLimit),
	}
	if s.Owner.Conn.FD >= 0 {
		k.owner.conn = connOf(s.Owner.Conn)
		k.conns = append(k.conns, k.owner.conn)
	}
	for _, c := range s.Conns {
		k.conns = append(k.conns, connOf(c))
	}
	if len(s.Owner.Held) > 0 {
		k.owner.held = make(map[uint64]struct{})
		for _, id := range s.Owner.Held {
			k.owner.held[id] = struct{}{}
		}
	}
	k.begin()
	return k
}

// closeInherited closes what the program before has left: all file descriptors that are
// not close-on-exec, as those of this program are. Nobody knows what they were.
func closeInherited() {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd < firstFD {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			_ = unix.Close(fd)
		}
	}
}
