package main

import (
	"syscall"

	"holdfast/conn"
	"holdfast/relay"
	"holdfast/unixipc"
)

// link is the socket of a processor; what travels over it is its relay.Link's.
type link struct {
	world   *world
	source  *conn.Source
	relay   *relay.Link
	blocked bool // the socket takes no more; wait until it is writable
}

// join takes over the socket of a processor whose HELLO is done. rest are
// bytes that came behind it.
func (w *world) join(fd int, hello unixipc.HelloBody, peer unixipc.Peer, operator bool, rest []byte) {
	if w.late != nil {
		w.late.join(w, fd, hello, peer, operator, rest)
		return
	}
	w.relay.SetNow(w.loop.Now())
	l := &link{world: w}
	var err error
	if l.source, err = w.loop.Watch(fd, l.ready); err != nil {
		w.log.Error("processor lost", "processor", hello.Name, "err", err)
		_ = closeFd(fd)
		w.joined.Add(-1)
		return
	}
	l.relay = w.relay.Join(hello, operator)
	w.links[l.relay] = l
	if !operator {
		w.counters.Joined++
	}
	w.log.Info(l.kind()+" joined", "processor", hello.Name, "link", l.relay.ID(), "loop", w.index,
		"pid", peer.PID, "uid", peer.UID, "chargers", l.relay.Chargers())
	if len(rest) > 0 {
		w.relay.Receive(l.relay, rest)
	}
}

// kind is what the log calls it.
func (l *link) kind() string {
	if l.relay.Operator() {
		return "operator"
	}
	return "processor"
}

// ready is called by the loop.
func (l *link) ready(readable, writable, hungUp bool) {
	w := l.world
	w.relay.SetNow(w.loop.Now())
	if writable {
		l.blocked = false
		l.flush()
	}
	if l.source == nil || !readable && !hungUp {
		return
	}
	b, errno := w.loop.Read(l.source.Fd())
	switch {
	case len(b) > 0:
		w.relay.Receive(l.relay, b)
		l.watch()
	case errno == syscall.EAGAIN:
	case errno != 0:
		l.close("processor lost: " + errno.Error())
	default:
		l.close("processor closed the link")
	}
}

// flush writes what there is, at most once a turn, and closes a link that has
// ended.
func (l *link) flush() {
	if l.source == nil {
		return
	}
	w := l.world
	n := 0
	if b := l.relay.Unwritten(); len(b) > 0 && !l.blocked {
		var errno syscall.Errno
		n, errno = conn.Write(l.source.Fd(), b)
		if errno != 0 && errno != syscall.EAGAIN {
			l.close("processor lost: " + errno.Error())
			return
		}
		l.blocked = n < len(b)
	}
	w.relay.Wrote(l.relay, n)
	if why, ended := l.relay.Ended(); ended {
		l.close(why)
		return
	}
	l.watch()
}

// watch tells the loop what the link waits for. A processor that does not read
// is not read from; but long after deliveries to it stop, for one that waits
// for its ACK to be taken before it reads on would wait for ever.
func (l *link) watch() {
	if l.source == nil {
		return
	}
	if err := l.source.Want(len(l.relay.Unwritten()) <= l.world.maxUnwritten, l.blocked); err != nil {
		l.world.loop.Post(func() { l.close(err.Error()) })
	}
}

func (l *link) close(why string) {
	if l.source == nil {
		return
	}
	w := l.world
	w.relay.Lost(l.relay)
	l.source.Close()
	l.source = nil
	delete(w.links, l.relay)
	w.joined.Add(-1)
	switch {
	case l.relay.Operator():
	case l.relay.Redelivered() == 0:
		w.counters.Left++
	default:
		w.counters.LeftUnclean++
	}
	w.log.Info(l.kind()+" left", "processor", l.relay.Name(), "link", l.relay.ID(), "loop", w.index,
		"reason", why, "redelivered", l.relay.Redelivered())
}
