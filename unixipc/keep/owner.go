package keep

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/unixipc"
)

// Item is a file descriptor under its id.
type Item struct {
	ID uint64
	FD int
}

// Inherited is what the owner before has left. The file descriptors are close-on-exec and
// the caller's.
type Inherited struct {
	Memory int // -1: none
	Items  []Item
}

// Close closes all of it.
func (in *Inherited) Close() {
	for _, it := range in.Items {
		_ = unix.Close(it.FD)
	}
	if in.Memory >= 0 {
		_ = unix.Close(in.Memory)
	}
	*in = Inherited{Memory: -1}
}

// RefusedError is what the keeper had against a claim or an order. The connection has
// ended; what is kept stays.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return "the keeper refuses: " + e.Reason }

// ErrGone says that the keeper has closed the connection without a word: it has ended.
var ErrGone = errors.New("the keeper has gone")

// Owner is the owner's end of its connection to the keeper. After Claim nothing blocks.
// It belongs to one goroutine.
type Owner struct {
	fd     int
	failed error // why there is no more to say
	buf    []byte
	fds    []int
}

// connectPause is how long Claim waits for a keeper whose backlog is full.
const connectPause = 5 * time.Millisecond

// Claim connects to the keeper at path and claims everything; it blocks up to limit. The
// claimant owns nothing before it has called Valid. Errors: *RefusedError; unix.ENOENT or
// unix.ECONNREFUSED if there is no keeper; os.ErrDeadlineExceeded;
// unixipc.ErrTruncatedFDs if this process has no room.
func Claim(path string, limit time.Duration) (*Owner, Inherited, error) {
	none := Inherited{Memory: -1}
	until := time.Now().Add(limit)
	fd, err := connect(path, until)
	if err != nil {
		return nil, none, fmt.Errorf("keeper at %s: %w", path, err)
	}
	o, in := &Owner{fd: fd}, none
	if err := o.claim(&in, until); err != nil {
		in.Close()
		_ = o.Close()
		return nil, none, fmt.Errorf("claim from the keeper at %s: %w", path, err)
	}
	return o, in, nil
}

func connect(path string, until time.Time) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, err
	}
	for {
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
		if err == unix.EAGAIN && time.Until(until) > connectPause {
			time.Sleep(connectPause)
			continue
		}
		if err == nil {
			// Whoever gets the sockets can speak for the gateway.
			if uid := unixipc.PeerOfFD(fd).UID; uid != os.Geteuid() && uid != 0 {
				err = fmt.Errorf("it is a process of user %d", uid)
			}
		}
		if err != nil {
			_ = unix.Close(fd)
			return -1, err
		}
		return fd, nil
	}
}

// claim sends CLAIM and receives everything.
func (o *Owner) claim(in *Inherited, until time.Time) error {
	pidfd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return fmt.Errorf("pidfd_open: %w", err)
	}
	err = send(o.fd, message{kind: msgClaim, version: version}.append(nil), []int{pidfd})
	_ = unix.Close(pidfd)
	if err != nil {
		return o.gone(err)
	}
	buf, oob := make([]byte, maxMessage), make([]byte, controlSize)
	stated, want := false, 0
	for {
		if !wait(o.fd, unix.POLLIN, until) {
			return os.ErrDeadlineExceeded
		}
		n, fds, err := receive(o.fd, buf, oob)
		if err == errLater {
			continue
		}
		var m message
		if err == nil {
			m, err = parse(buf[:n], len(fds))
		}
		if err != nil {
			closeAll(fds)
			if err == io.EOF {
				err = ErrGone
			}
			return err
		}
		switch {
		case m.kind == msgRefused:
			return &RefusedError{string(m.reason)}
		case m.kind == msgState && !stated && m.version == version:
			stated, want = true, int(m.items)
			if len(fds) > 0 {
				in.Memory = fds[0]
			}
		case m.kind == msgItems && stated:
			for i, fd := range fds {
				in.Items = append(in.Items, Item{m.ids.at(i), fd})
			}
			if err := send(o.fd, message{kind: msgTook}.append(nil), nil); err != nil {
				return o.gone(err)
			}
		case m.kind == msgEnd && stated && len(in.Items) == want:
			return nil
		default:
			closeAll(fds)
			return fmt.Errorf("the keeper sends %v of version %d after %d of %d items", m.kind, m.version, len(in.Items), want)
		}
	}
}

// Adopt returns the Owner of a connection that was inherited from the process before. It
// takes fd, unless there is an error.
func Adopt(fd int) (*Owner, error) {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return nil, fmt.Errorf("connection to the keeper: %w", err)
	}
	if kind != unix.SOCK_SEQPACKET {
		return nil, errors.New("connection to the keeper: it is a socket of another type")
	}
	unix.CloseOnExec(fd)
	return &Owner{fd: fd}, nil
}

// FD is the connection. It becomes readable when Err has something to say.
func (o *Owner) FD() int { return o.fd }

// Put has the first n of items kept, under ids that are not in use; they are kept even if
// this process dies at once. If n is less than all without an error, the keeper, or the
// kernel's limit of file descriptors in flight, does not keep up: try again later. With an
// error the keeper has gone or refuses.
func (o *Owner) Put(items []Item) (n int, err error) {
	for n < len(items) {
		some := items[n:min(n+unixipc.MaxFDs, len(items))]
		o.buf, o.fds = append(o.buf[:0], byte(msgPut)), o.fds[:0]
		for _, it := range some {
			o.buf = binary.BigEndian.AppendUint64(o.buf, it.ID)
			o.fds = append(o.fds, it.FD)
		}
		if sent, err := o.send(o.buf, o.fds); !sent {
			return n, err
		}
		n += len(some)
	}
	return n, nil
}

// Drop has the first n of ids given up; n and err are those of Put.
func (o *Owner) Drop(ids []uint64) (n int, err error) {
	for n < len(ids) {
		some := ids[n:min(n+maxDrops, len(ids))]
		o.buf = append(o.buf[:0], byte(msgDrop))
		for _, id := range some {
			o.buf = binary.BigEndian.AppendUint64(o.buf, id)
		}
		if sent, err := o.send(o.buf, nil); !sent {
			return n, err
		}
		n += len(some)
	}
	return n, nil
}

// ErrBusy says that the keeper does not keep up: try again later.
var ErrBusy = errors.New("the keeper is busy")

// Valid makes this process the owner and memory, a memfd, the valid one. ErrBusy: nothing
// has happened yet.
func (o *Owner) Valid(memory int) error {
	pidfd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return fmt.Errorf("pidfd_open: %w", err)
	}
	defer func() { _ = unix.Close(pidfd) }()
	sent, err := o.send(message{kind: msgValid}.append(nil), []int{memory, pidfd})
	if err == nil && !sent {
		return ErrBusy
	}
	return err
}

// send sends a message; not sent without an error: later.
func (o *Owner) send(b []byte, fds []int) (sent bool, err error) {
	if o.failed != nil {
		return false, o.failed
	}
	switch err := send(o.fd, b, fds); err {
	case nil:
		return true, nil
	case errLater:
		return false, nil
	default:
		return false, o.gone(err)
	}
}

// gone finds out why the keeper could not be reached.
func (o *Owner) gone(err error) error {
	if why := o.Err(); why != nil {
		return why
	}
	o.failed = fmt.Errorf("keeper: %w", err)
	return o.failed
}

// Err returns what has ended the connection, a *RefusedError or ErrGone, as far as it has
// arrived; nil: all is well.
func (o *Owner) Err() error {
	if o.failed != nil {
		return o.failed
	}
	var buf [1 + maxReason]byte
	oob := make([]byte, controlSize)
	n, fds, err := receive(o.fd, buf[:], oob)
	if err == errLater {
		return nil
	}
	defer closeAll(fds)
	var m message
	if err == nil {
		m, err = parse(buf[:n], len(fds))
	}
	switch {
	case err == io.EOF, err == unix.EPIPE, err == unix.ECONNRESET:
		o.failed = ErrGone
	case err != nil:
		o.failed = fmt.Errorf("keeper: %w", err)
	case m.kind == msgRefused:
		o.failed = &RefusedError{string(m.reason)}
	default:
		o.failed = fmt.Errorf("keeper: it sends %v", m.kind)
	}
	return o.failed
}

// Close closes the connection. What is kept stays until this process is dead.
func (o *Owner) Close() error {
	if o.failed == nil {
		o.failed = errors.New("the connection to the keeper is closed")
	}
	fd := o.fd
	o.fd = -1
	return unix.Close(fd)
}
