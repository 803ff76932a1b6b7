package shard

import (
	"syscall"
	"time"

	"holdfast/conn"
	"holdfast/relay"
	"holdfast/unixipc"
)

// HelloTimeout is how long a processor may take for its HELLO.
const HelloTimeout = 10 * time.Second

// A Link is the socket of a processor. What travels over it belongs to its
// relay.Link.
type Link struct {
	Relay   *relay.Link
	shard   *Shard
	source  *conn.Source // nil: closed
	blocked bool         // the socket takes no more until it is writable
}

// Join takes over the socket of a processor whose HELLO is done. rest are
// bytes that came behind it.
func (s *Shard) Join(fd int, hello unixipc.HelloBody, peer unixipc.Peer, operator bool, rest []byte) {
	if s.late != nil {
		s.late.Join(s, fd, hello, peer, operator, rest)
		return
	}
	l := &Link{shard: s}
	var err error
	if l.source, err = s.Loop.Watch(fd, l.ready); err != nil {
		s.Log.Error("processor lost", "processor", hello.Name, "err", err)
		_ = CloseFD(fd)
		s.Joined.Add(-1)
		return
	}
	l.Relay = s.Relay.Join(hello, operator)
	s.Links[l.Relay] = l
	if !operator {
		s.Counters.Joined++
	}
	s.Log.Info(l.kind()+" joined", "processor", hello.Name, "link", l.Relay.ID(), "loop", s.Index,
		"pid", peer.PID, "uid", peer.UID, "chargers", l.Relay.Chargers())
	if len(rest) > 0 {
		s.Relay.Receive(l.Relay, rest)
	}
}

// FD returns the socket, which stays the link's. It must not be closed.
func (l *Link) FD() int { return l.source.Fd() }

// Closed reports whether the socket is closed.
func (l *Link) Closed() bool { return l.source == nil }

// kind returns the name that the log has for it.
func (l *Link) kind() string {
	if l.Relay.Operator() {
		return "operator"
	}
	return "processor"
}

// peer returns the process at the other end; -1 in each field if it is not known.
func (l *Link) peer() unixipc.Peer {
	if l == nil || l.source == nil {
		return unixipc.Peer{PID: -1, UID: -1, GID: -1}
	}
	return unixipc.PeerOfFD(l.source.Fd())
}

// ready is called by the loop.
func (l *Link) ready(readable, writable, hungUp bool) {
	s := l.shard
	if writable {
		l.blocked = false
		l.flush()
	}
	if l.source == nil || !readable && !hungUp {
		return
	}
	b, errno := s.Loop.Read(l.source.Fd())
	switch {
	case len(b) > 0:
		s.Relay.Receive(l.Relay, b)
		l.watch()
	case errno == syscall.EAGAIN:
	case errno != 0:
		l.close("processor lost: " + errno.Error())
	default:
		l.close("processor closed the link")
	}
}

// flush writes what is unwritten, at most once a turn, and closes a link that
// has ended.
func (l *Link) flush() {
	if l.source == nil {
		return
	}
	n := 0
	if b := l.Relay.Unwritten(); len(b) > 0 && !l.blocked {
		var errno syscall.Errno
		n, errno = conn.Write(l.source.Fd(), b)
		if errno != 0 && errno != syscall.EAGAIN {
			l.close("processor lost: " + errno.Error())
			return
		}
		l.blocked = n < len(b)
	}
	l.shard.Relay.Wrote(l.Relay, n)
	if why, ended := l.Relay.Ended(); ended {
		l.close(why)
		return
	}
	l.watch()
}

// watch sets what the loop waits for. A processor that does not read is not
// read from either. That begins long after deliveries to it stop: a processor
// may wait for its ACK to be taken before it reads on, and would wait for ever.
func (l *Link) watch() {
	if l.source == nil {
		return
	}
	if err := l.source.Want(len(l.Relay.Unwritten()) <= l.shard.maxUnwritten, l.blocked); err != nil {
		l.shard.Loop.Post(func() { l.close(err.Error()) })
	}
}

func (l *Link) close(why string) {
	if l.source == nil {
		return
	}
	s := l.shard
	s.Relay.Lost(l.Relay)
	l.source.Close()
	l.source = nil
	delete(s.Links, l.Relay)
	s.Joined.Add(-1)
	switch {
	case l.Relay.Operator():
	case l.Relay.Redelivered() == 0:
		s.Counters.Left++
	default:
		s.Counters.LeftUnclean++
	}
	s.Log.Info(l.kind()+" left", "processor", l.Relay.Name(), "link", l.Relay.ID(), "loop", s.Index,
		"reason", why, "redelivered", l.Relay.Redelivered())
}
