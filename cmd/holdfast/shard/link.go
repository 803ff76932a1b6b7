package shard

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"holdfast/cmd/holdfast/metrics"
	"holdfast/conn"
	"holdfast/relay"
	"holdfast/unixipc"
)

// HelloTimeout is how long a processor may take for its HELLO.
const HelloTimeout = 10 * time.Second

// links are the sockets of the processors that have joined one loop. Everything of
// them belongs to the loop.
type links struct {
	index        int // of the loop
	loop         *conn.Loop
	relay        *relay.Relay
	log          *slog.Logger
	counters     *metrics.LoopCounters
	joined       *atomic.Int64 // of all loops
	maxUnwritten int           // bytes, see Link.watch
	changed      func(*Link)   // has a link written down
	gone         func(*Link)   // has its end written down

	all      map[*relay.Link]*Link
	writable []*relay.Link // to be written at the end of the turn
	spare    []*relay.Link
}

// A Link is the socket of a processor. What travels over it belongs to its
// relay.Link.
type Link struct {
	Relay   *relay.Link
	links   *links
	source  *conn.Source // nil: closed
	blocked bool         // the socket takes no more until it is writable

	committed int // with a keeper: bytes of what is unwritten that are written down
}

// join takes over the socket of a processor whose HELLO is done. rest are the bytes
// that followed it.
func (ls *links) join(fd int, hello unixipc.HelloBody, peer unixipc.Peer, operator bool, rest []byte) {
	l := &Link{links: ls}
	var err error
	if l.source, err = ls.loop.Watch(fd, l.ready); err != nil {
		ls.log.Error("processor lost", "processor", hello.Name, "err", err)
		_ = CloseFD(fd)
		ls.joined.Add(-1)
		return
	}
	l.Relay = ls.relay.Join(hello, operator)
	ls.all[l.Relay] = l
	ls.changed(l)
	if !operator {
		ls.counters.Joined++
	}
	ls.log.Info(l.kind()+" joined", "processor", hello.Name, "link", l.Relay.ID(), "loop", ls.index,
		"pid", peer.PID, "uid", peer.UID, "chargers", l.Relay.Chargers())
	if len(rest) > 0 {
		ls.relay.Receive(l.Relay, rest)
	}
}

// adopt stages a link that another process has exported. It owns fd unless there is
// an error.
func (ls *links) adopt(fd int, state []byte) (*Link, error) {
	adopted, err := ls.relay.AdoptLink(state)
	if err != nil {
		return nil, err
	}
	l := &Link{links: ls, Relay: adopted}
	if l.source, err = ls.loop.Watch(fd, l.ready); err != nil {
		ls.relay.UnadoptLink(adopted)
		return nil, err
	}
	ls.all[adopted] = l
	return l, nil
}

// unadopt forgets a staged link. Its socket is closed, but its connection stays with
// the process that exported it.
func (ls *links) unadopt(l *Link) {
	ls.relay.UnadoptLink(l.Relay)
	delete(ls.all, l.Relay)
	l.source.Release()
}

// flush writes, once, to each link that has something to be written.
func (ls *links) flush() {
	for i := 0; i < len(ls.writable); i++ { // closing one may give others something
		if l := ls.all[ls.writable[i]]; l != nil {
			l.flush()
		}
	}
	clear(ls.writable)
	ls.writable = ls.writable[:0]
}

// flushCommitted writes, once, to each link that has something that is written down. What
// that leaves to be written waits for the next commit.
func (ls *links) flushCommitted() {
	writable := ls.writable
	ls.writable = ls.spare[:0]
	for _, r := range writable {
		if l := ls.all[r]; l != nil {
			l.flush()
		}
	}
	clear(writable)
	ls.spare = writable
}

// flushEnded writes to each link that has ended why it did, and closes it.
func (ls *links) flushEnded() {
	for _, l := range ls.all {
		if _, ended := l.Relay.Ended(); ended {
			l.flush()
		}
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
	if writable {
		l.blocked = false
		if l.source != nil && l.source.Kept() {
			l.links.writable = append(l.links.writable, l.Relay) // behind the commit
		} else {
			l.flush()
		}
	}
	if l.source == nil || !readable && !hungUp {
		return
	}
	b, errno := l.source.Read()
	switch {
	case len(b) > 0:
		l.links.changed(l)
		l.links.relay.Receive(l.Relay, b)
		l.watch()
	case errno == syscall.EAGAIN:
	case errno != 0:
		l.close("processor lost: " + errno.Error())
	default:
		l.close("processor closed the link")
	}
}

// flush writes what is unwritten, and closes a link that has ended.
func (l *Link) flush() {
	if l.source == nil {
		return
	}
	n, b, kept := 0, l.Relay.Unwritten(), l.source.Kept()
	all := len(b)
	if kept {
		b = b[:l.committed]
	}
	if len(b) > 0 && !l.blocked {
		var errno syscall.Errno
		n, errno = l.source.Write(b)
		if errno != 0 && errno != syscall.EAGAIN {
			l.close("processor lost: " + errno.Error())
			return
		}
		l.blocked = n < len(b)
		l.committed -= min(n, l.committed)
	}
	l.links.relay.Wrote(l.Relay, n)
	switch {
	case !kept || all-n <= l.committed:
	case l.blocked:
		l.links.changed(l) // what came since the commit
	default:
		l.links.wants(l) // the same, which can be written at once then
		return
	}
	if why, ended := l.Relay.Ended(); ended {
		l.close(why)
		return
	}
	l.watch()
}

// watch sets what the loop waits for. A processor that does not read is not read
// from either. That begins long after deliveries to it stop, when its orders have
// filled maxUnwritten: a processor may wait for its ACK to be taken before it reads
// on, and would wait for ever.
func (l *Link) watch() {
	if l.source == nil {
		return
	}
	if err := l.source.Want(len(l.Relay.Unwritten()) <= l.links.maxUnwritten && !l.Relay.Ahead(), l.blocked); err != nil {
		l.links.loop.Post(func() { l.close(err.Error()) })
	}
}

// wants has the link written down, and then written to.
func (ls *links) wants(l *Link) {
	ls.changed(l)
	ls.writable = append(ls.writable, l.Relay)
}

// close ends the link, once. The relay gives its chargers to others.
func (l *Link) close(why string) {
	if l.source == nil {
		return
	}
	ls := l.links
	_, thrown := l.Relay.Ended()
	ls.relay.Lost(l.Relay)
	ls.gone(l)
	l.source.Close()
	l.source = nil
	delete(ls.all, l.Relay)
	ls.joined.Add(-1)
	switch {
	case l.Relay.Operator():
	case l.Relay.Redelivered() == 0:
		ls.counters.Left++
	default:
		ls.counters.LeftUnclean++
	}
	level := slog.LevelInfo
	if thrown { // hung, or at fault
		level = slog.LevelWarn
	}
	ls.log.Log(context.Background(), level, l.kind()+" left", "processor", l.Relay.Name(), "link", l.Relay.ID(), "loop", ls.index,
		"reason", why, "redelivered", l.Relay.Redelivered())
	if orphans := ls.relay.Orphans(l.Relay); len(orphans) > 0 {
		ls.log.Warn("no processor is left for a subprotocol: messages wait", "subprotocols", strings.Join(orphans, ","), "loop", ls.index,
			"last", l.Relay.Name())
	}
}
