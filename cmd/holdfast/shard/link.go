package shard

import (
	"syscall"
	"time"

	"holdfast/conn"
	"holdfast/relay"
	"holdfast/unixipc"

	"golang.org/x/sys/unix"
)

// Link is the socket of a processor; what travels over it is its relay.Link's.
type Link struct {
	Shard   *Shard
	Source  *conn.Source
	Relay   *relay.Link
	blocked bool // the socket takes no more; wait until it is writable
}

// Join takes over the socket of a processor whose HELLO is done. rest are
// bytes that came behind it.
func (w *Shard) Join(fd int, hello unixipc.HelloBody, peer unixipc.Peer, operator bool, rest []byte) {
	if w.Successor != nil {
		w.Successor.Join(w, fd, hello, peer, operator, rest)
		return
	}
	l := &Link{Shard: w}
	var err error
	if l.Source, err = w.Loop.Watch(fd, l.Ready); err != nil {
		w.Log.Error("processor lost", "processor", hello.Name, "err", err)
		_ = CloseFD(fd)
		w.Joined.Add(-1)
		return
	}
	l.Relay = w.Relay.Join(hello, operator)
	w.Links[l.Relay] = l
	if !operator {
		w.Counters.Joined++
	}
	w.Log.Info(l.kind()+" joined", "processor", hello.Name, "link", l.Relay.ID(), "loop", w.Index,
		"pid", peer.PID, "uid", peer.UID, "chargers", l.Relay.Chargers())
	if len(rest) > 0 {
		w.Relay.Receive(l.Relay, rest)
	}
}

// kind is what the log calls it.
func (l *Link) kind() string {
	if l.Relay.Operator() {
		return "operator"
	}
	return "processor"
}

// Ready is called by the loop.
func (l *Link) Ready(readable, writable, hungUp bool) {
	w := l.Shard
	if writable {
		l.blocked = false
		l.Flush()
	}
	if l.Source == nil || !readable && !hungUp {
		return
	}
	b, errno := w.Loop.Read(l.Source.Fd())
	switch {
	case len(b) > 0:
		w.Relay.Receive(l.Relay, b)
		l.watch()
	case errno == syscall.EAGAIN:
	case errno != 0:
		l.close("processor lost: " + errno.Error())
	default:
		l.close("processor closed the link")
	}
}

// Flush writes what there is, at most once a turn, and closes a link that has
// ended.
func (l *Link) Flush() {
	if l.Source == nil {
		return
	}
	w := l.Shard
	n := 0
	if b := l.Relay.Unwritten(); len(b) > 0 && !l.blocked {
		var errno syscall.Errno
		n, errno = conn.Write(l.Source.Fd(), b)
		if errno != 0 && errno != syscall.EAGAIN {
			l.close("processor lost: " + errno.Error())
			return
		}
		l.blocked = n < len(b)
	}
	w.Relay.Wrote(l.Relay, n)
	if why, ended := l.Relay.Ended(); ended {
		l.close(why)
		return
	}
	l.watch()
}

// watch tells the loop what the link waits for. A processor that does not read
// is not read from; but long after deliveries to it stop, for one that waits
// for its ACK to be taken before it reads on would wait for ever.
func (l *Link) watch() {
	if l.Source == nil {
		return
	}
	if err := l.Source.Want(len(l.Relay.Unwritten()) <= l.Shard.maxUnwritten, l.blocked); err != nil {
		l.Shard.Loop.Post(func() { l.close(err.Error()) })
	}
}

func (l *Link) close(why string) {
	if l.Source == nil {
		return
	}
	w := l.Shard
	w.Relay.Lost(l.Relay)
	l.Source.Close()
	l.Source = nil
	delete(w.Links, l.Relay)
	w.Joined.Add(-1)
	switch {
	case l.Relay.Operator():
	case l.Relay.Redelivered() == 0:
		w.Counters.Left++
	default:
		w.Counters.LeftUnclean++
	}
	w.Log.Info(l.kind()+" left", "processor", l.Relay.Name(), "link", l.Relay.ID(), "loop", w.Index,
		"reason", why, "redelivered", l.Relay.Redelivered())
}

// HelloTimeout is how long a processor may take for its HELLO.
const HelloTimeout = 10 * time.Second

// CloseFD ends the connection of fd, also for those who hold a duplicate.
func CloseFD(fd int) error {
	_ = unix.Shutdown(fd, unix.SHUT_RDWR)
	return unix.Close(fd)
}
