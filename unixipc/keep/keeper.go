package keep

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/unixipc"
)

const (
	maxConns   = 16                     // connections at once, the owner's included
	claimLimit = 5 * time.Second        // from the connection to its CLAIM
	deathLimit = 2 * time.Second        // how long a CLAIM waits for the death of an owner without a connection
	tookLimit  = 10 * time.Second       // from ITEMS to TOOK
	laterDelay = 5 * time.Millisecond   // until a message is sent again that the kernel did not take
	acceptRest = 500 * time.Millisecond // after an accept that failed
	burst      = 64                     // messages that are read of a connection in one turn
	maxQueued  = 1 << 16                // messages at most that a dead process can have left
	reserveFDs = 64                     // file descriptors that items do not get
)

// state is what the last claimant has come to.
type state string

const (
	nobody   state = "nobody"   // by CLAIM → claiming
	claiming state = "claiming" // STATE and ITEMS are sent to it; by its last TOOK → claimed
	claimed  state = "claimed"  // its DROPs are held back; by VALID → owned
	owned    state = "owned"    // its memory is the valid one
)

// owner is who has claimed, or said VALID, last.
type owner struct {
	state state
	// conn is nil when it has ended, though the process may live.
	conn *conn
	// pidfd is -1 when the process is dead. The state is nobody then, or owned, if
	// another process has inherited the connection and may say VALID yet.
	pidfd, pid int

	// While claiming:
	stated     bool      // STATE was sent
	unsent     []uint64  // ids of items to come
	unanswered int       // ITEMS without a TOOK
	stall      time.Time // when a TOOK must have come
	again      time.Time // when to send again, after errLater

	// held are the DROPs until VALID.
	held map[uint64]struct{}
}

// conn is a connection. Only the owner's may say more than CLAIM.
type conn struct {
	fd       int // -1: closed
	peer     unixipc.Peer
	deadline time.Time // for its CLAIM, and then for the answer; not for the owner's
	claim    int       // pidfd of a CLAIM that waits for its answer; -1
}

// Options of a Keeper.
type Options struct {
	// KeepFor is how long everything is kept for nobody.
	KeepFor time.Duration
	Log     *slog.Logger
}

// Keeper holds what is put there. Everything happens in Turn.
type Keeper struct {
	Options
	path     string
	listener int
	items    map[uint64]int32 // id → file descriptor, or noRoom
	without  int              // items of noRoom
	memory   int              // the valid one; -1
	owner    owner
	conns    []*conn // oldest first
	limitFDs int     // file descriptors of items have lower numbers

	ends     time.Time // when everything ends; zero: an owner lives, or there is nothing
	acceptAt time.Time // not before
	now      time.Time // of this turn

	buf, oob []byte
	polls    []unix.PollFd
	polled   []*conn // of which polls are
}

// Listen begins with nothing.
func Listen(path string, o Options) (*Keeper, error) {
	k := newKeeper(o)
	k.path = path
	fd, err := listen(path)
	if err != nil {
		return nil, err
	}
	k.listener = fd
	return k, nil
}

func newKeeper(o Options) *Keeper {
	limit := hardFileLimit()
	return &Keeper{
		Options: o, listener: -1, memory: -1, now: time.Now(),
		items:    make(map[uint64]int32),
		owner:    owner{state: nobody, pidfd: -1},
		limitFDs: limit - min(reserveFDs, limit/4),
		buf:      make([]byte, maxMessage),
		oob:      make([]byte, controlSize),
	}
}

// hardFileLimit raises the soft limit of open files to the hard one, and returns it.
func hardFileLimit() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1024
	}
	limit.Cur = limit.Max
	_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	return int(min(limit.Max, 1<<30))
}

// Kept is how many items there are.
func (k *Keeper) Kept() int { return len(k.items) - k.without }

// Path is where the keeper listens.
func (k *Keeper) Path() string { return k.path }

// Owner is the process of the owner, or 0.
func (k *Keeper) Owner() int {
	if k.owner.pidfd < 0 {
		return 0
	}
	return k.owner.pid
}

// Close gives everything up and ends no connection: a gateway that lives serves on.
func (k *Keeper) Close() error {
	err := os.Remove(k.path)
	for len(k.conns) > 0 {
		k.gone(k.conns[0])
	}
	for id := range k.items {
		k.forget(id)
	}
	k.closeMemory()
	k.closeOwner()
	_ = unix.Close(k.listener)
	return err
}

// Turn waits until there is something to do, does it, and returns; at the latest after
// limit. It reports whether wake is readable; wake may be -1.
func (k *Keeper) Turn(wake int, limit time.Duration) (woken bool, err error) {
	k.prepare(wake)
	if _, err := unix.Poll(k.polls, millis(min(limit, k.nextDeadline()))); err != nil && err != unix.EINTR {
		return false, fmt.Errorf("poll: %w", err)
	} else if err == unix.EINTR {
		return false, nil
	}
	k.now = time.Now()
	woken = k.polls[0].Revents != 0
	for i, c := range k.polled {
		if k.polls[fixedPolls+i].Revents != 0 {
			k.read(c)
		}
	}
	if k.polls[2].Revents != 0 {
		k.ownerLives()
	}
	k.expire()
	k.pump()
	k.answerClaims()
	if k.polls[1].Revents != 0 {
		k.accept()
	}
	return woken, nil
}

// fixedPolls are wake, the listener, and the owner's process. The connections follow.
const fixedPolls = 3

func (k *Keeper) prepare(wake int) {
	listener := k.listener
	if k.now.Before(k.acceptAt) {
		listener = -1
	}
	k.polls = append(k.polls[:0],
		unix.PollFd{Fd: int32(wake), Events: unix.POLLIN},
		unix.PollFd{Fd: int32(listener), Events: unix.POLLIN},
		unix.PollFd{Fd: int32(k.owner.pidfd), Events: unix.POLLIN})
	k.polled = append(k.polled[:0], k.conns...)
	for _, c := range k.polled {
		k.polls = append(k.polls, unix.PollFd{Fd: int32(c.fd), Events: unix.POLLIN})
	}
}

// nextDeadline is how long it is until something must be done without an event.
func (k *Keeper) nextDeadline() time.Duration {
	next := k.now.Add(time.Hour)
	sooner := func(t time.Time) {
		if !t.IsZero() && t.Before(next) {
			next = t
		}
	}
	sooner(k.ends)
	if k.now.Before(k.acceptAt) {
		sooner(k.acceptAt)
	}
	for _, c := range k.conns {
		if c != k.owner.conn {
			sooner(c.deadline)
		}
	}
	if k.owner.state == claiming && k.owner.conn != nil {
		sooner(k.owner.stall)
		sooner(k.owner.again)
	}
	return time.Until(next)
}

// expire does what is due.
func (k *Keeper) expire() {
	for _, c := range slices.Clone(k.conns) {
		if c != k.owner.conn && c.claim < 0 && k.now.After(c.deadline) {
			k.refuse(c, fmt.Sprintf("no CLAIM within %v", claimLimit))
		}
	}
	if o := &k.owner; o.state == claiming && o.conn != nil && k.now.After(o.stall) {
		k.refuse(o.conn, fmt.Sprintf("no TOOK within %v", tookLimit))
	}
	if !k.ends.IsZero() && k.now.After(k.ends) && !k.ownerLives() {
		k.endAll()
	}
}

// accept takes new connections.
func (k *Keeper) accept() {
	for range backlog {
		fd, _, err := unix.Accept4(k.listener, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		switch err {
		case nil:
		case unix.EAGAIN:
			return
		case unix.EINTR, unix.ECONNABORTED:
			continue
		default:
			k.Log.Error("keeper: cannot accept", "error", err)
			k.acceptAt = k.now.Add(acceptRest)
			return
		}
		c := &conn{fd: fd, peer: unixipc.PeerOfFD(fd), deadline: k.now.Add(claimLimit), claim: -1}
		k.conns = append(k.conns, c)
		switch {
		case c.peer.UID != os.Geteuid() && c.peer.UID != 0:
			k.refuse(c, fmt.Sprintf("user %d may not claim", c.peer.UID))
		case len(k.conns) > maxConns:
			k.refuse(c, fmt.Sprintf("there are %d connections already", maxConns))
		}
	}
}

// read handles what has come from c.
func (k *Keeper) read(c *conn) {
	for range burst {
		if !k.readOne(c) {
			return
		}
	}
}

// readOne handles one message of c; false: there is no more.
func (k *Keeper) readOne(c *conn) bool {
	if c.fd < 0 {
		return false
	}
	n, fds, err := receive(c.fd, k.buf, k.oob)
	switch {
	case err == errLater:
		return false
	case err == unixipc.ErrTruncatedFDs && c == k.owner.conn && n > 0 && kind(k.buf[0]) == msgPut:
		for len(fds) < (n-1)/idSize { // those that came are its first
			fds = append(fds, noRoom)
		}
	case err == unixipc.ErrTruncatedFDs:
		closeAll(fds)
		k.refuse(c, fmt.Sprintf("%v; %s", err, k.room()))
		return false
	case err == io.EOF:
		closeAll(fds)
		k.gone(c)
		return false
	case err != nil:
		closeAll(fds)
		k.refuse(c, err.Error())
		return false
	}
	m, err := parse(k.buf[:n], len(fds))
	kept := false
	if err == nil {
		kept, err = k.handle(c, m, fds)
	}
	if !kept {
		closeAll(fds)
	}
	if err != nil {
		k.refuse(c, err.Error())
		return false
	}
	return true
}

// handle does what m says. The fds stay the caller's unless they are kept; an error
// refuses the connection, and nothing has changed.
func (k *Keeper) handle(c *conn, m message, fds []int) (kept bool, err error) {
	if m.kind == msgClaim {
		return k.onClaim(c, m, fds)
	}
	o := &k.owner
	switch {
	case c != o.conn && c.claim >= 0:
		return false, fmt.Errorf("%v before the CLAIM is answered", m.kind)
	case c != o.conn:
		return false, fmt.Errorf("%v without a CLAIM", m.kind)
	case (o.state == claiming) != (m.kind == msgTook):
		return false, fmt.Errorf("%v while %s", m.kind, o.state)
	}
	switch m.kind {
	case msgTook:
		return false, k.onTook()
	case msgPut:
		return k.onPut(m.ids, fds)
	case msgDrop:
		return false, k.onDrop(m.ids)
	case msgValid:
		return k.onValid(fds[0], fds[1])
	}
	return false, fmt.Errorf("%v is not for the keeper", m.kind)
}

// refuse closes c with a reason.
func (k *Keeper) refuse(c *conn, reason string) {
	if c.fd < 0 {
		return
	}
	k.Log.Warn("keeper: refused", "process", c.peer.PID, "reason", reason)
	b := []byte(reason)
	_ = send(c.fd, message{kind: msgRefused, reason: b[:min(len(b), maxReason)]}.append(nil), nil)
	k.gone(c)
}

// gone closes c, which has ended or ends here.
func (k *Keeper) gone(c *conn) {
	_ = unix.Close(c.fd)
	c.fd = -1
	if c.claim >= 0 {
		_ = unix.Close(c.claim)
		c.claim = -1
	}
	k.conns = slices.DeleteFunc(k.conns, func(other *conn) bool { return other == c })
	if o := &k.owner; o.conn == c {
		o.conn, o.unsent, o.unanswered = nil, nil, 0
		if o.pidfd < 0 {
			k.owner = owner{state: nobody, pidfd: -1}
		}
	}
}

// ownerLives reports whether the process of the owner lives, after it has handled
// everything that that had sent.
func (k *Keeper) ownerLives() bool {
	k.drainOwner()
	if k.owner.pidfd < 0 {
		return false
	}
	if !exited(k.owner.pidfd) {
		return true
	}
	k.drainOwner() // what came since; its VALID may have made another process the owner
	if k.owner.pidfd >= 0 && exited(k.owner.pidfd) {
		k.died()
	}
	return k.owner.pidfd >= 0
}

func (k *Keeper) drainOwner() {
	for range maxQueued {
		if c := k.owner.conn; c == nil || !k.readOne(c) {
			return
		}
	}
}

// died: the process of the owner is dead.
func (k *Keeper) died() {
	o := &k.owner
	k.Log.Info("keeper: the owner has died", "process", o.pid, "was", string(o.state), "kept", k.Kept())
	k.closeOwner()
	k.begin()
	switch {
	case o.conn == nil:
		k.owner = owner{state: nobody, pidfd: -1}
	case o.state != owned: // a process that it has left behind has no part in its claim
		k.refuse(o.conn, fmt.Sprintf("process %d has died before its VALID", o.pid))
	}
}

// begin begins KeepFor, if there is something to keep and nobody to keep it for.
func (k *Keeper) begin() {
	if k.owner.pidfd < 0 && k.ends.IsZero() && (len(k.items) > 0 || k.memory >= 0) {
		k.ends = k.now.Add(k.KeepFor)
	}
}

// endAll ends everything that is kept: nobody has claimed it.
func (k *Keeper) endAll() {
	k.Log.Warn("keeper: nobody has claimed what was kept; it is ended", "connections", k.Kept(), "after", k.KeepFor.String())
	k.ends = time.Time{}
	if c := k.owner.conn; c != nil {
		k.refuse(c, fmt.Sprintf("no owner for %v: everything is ended", k.KeepFor))
	}
	// No shutdown: what nobody else holds ends with this, and what a gateway still serves
	// that has no keeper, such as an older release, does not.
	for id := range k.items {
		k.forget(id)
	}
	k.items = make(map[uint64]int32) // a map does not shrink
	k.closeMemory()
}

func (k *Keeper) closeMemory() {
	if k.memory >= 0 {
		_ = unix.Close(k.memory)
		k.memory = -1
	}
}

func (k *Keeper) closeOwner() {
	if k.owner.pidfd >= 0 {
		_ = unix.Close(k.owner.pidfd)
		k.owner.pidfd = -1
	}
}
