package conn

import (
	"syscall"

	"holdfast/conn/record"
	"holdfast/unixipc/journal"

	"golang.org/x/sys/unix"
)

// Theory of operation: a loop that outlives its process
//
// A loop with a journal writes the state of its connections down in memory that another
// process can go on from when this one has died (unixipc/journal). The order in a turn is
// then another one, so that nothing leaves the process that is not written down:
//
//	read and handle     reads go through the journal, which keeps what was read
//	seal                what is to be written is made into TLS records, for good: a nonce
//	                    belongs to one text
//	commit              the owner of the journal writes down what has changed (TakeUnsaved,
//	                    AppendSaved), and makes the turn valid
//	write               through the journal, which notes how much was written
//
// and again, as long as the writing itself leaves something new. A socket that becomes
// writable in a turn is written to at its end, too.
//
// A connection is in one of these states:
//
//	unkept   nobody has a duplicate of its socket: a crash ends it, and it is not written
//	         down. It is so before the first commit, and while there is no keeper
//	kept     a keeper has a duplicate, and the connection is an item of the journal from the
//	         next commit on
//
// What was written to a connection since it was written down is the journal's own note;
// so a whole answer that went out does not make its connection a changed one.
type saving struct {
	journal *journal.Journal // nil: none
	commit  func()
	again   bool
	changed []*Conn    // since the last commit; see Conn.unsaved
	gone    []GoneSlot // of connections that ended since
	// mustRead: what is read has no other turn; better not written down than not read.
	mustRead bool
	first    bool   // nothing is committed yet since a process has died
	sealed   []byte // records of this turn
}

// A GoneSlot is where a connection was written down that has ended.
type GoneSlot struct {
	Slot journal.Slot
	Kept bool // a keeper has a duplicate of its socket
}

// Save has the state of the loop written down in j: commit is called in each turn before
// anything is written to a socket, and writes down what TakeUnsaved returns. All
// connections are unkept then. j nil: it ends. What j holds is left alone.
func (l *Loop) Save(j *journal.Journal, commit func()) {
	l.saving = saving{journal: j, commit: commit}
	for slot := range l.table.used {
		c := l.table.at(slot)
		c.unsaved, c.kept, c.saved, c.begun = false, false, 0, nil
		if j != nil && c.loop != nil && c.phase != phaseGone {
			c.saved = j.Add()
			c.save()
		}
	}
}

// SaveRest has the connections written down that are staged and have no slot yet, or are
// unkept.
func (l *Loop) SaveRest() {
	if l.saving.journal == nil {
		return
	}
	for slot := range l.table.used {
		c := l.table.at(slot)
		if c.loop == nil || c.phase == phaseGone || c.kept {
			continue
		}
		if c.saved == 0 {
			c.saved = l.saving.journal.Add()
		}
		c.save()
	}
}

// Again has this turn write once more: commit has something to write down.
func (l *Loop) Again() { l.saving.again = true }

// TakeUnsaved appends the connections that have changed since it was last called, or were
// never written down, and returns the slots of those that are gone.
func (l *Loop) TakeUnsaved(dst []*Conn) (changed []*Conn, gone []GoneSlot) {
	for _, c := range l.dirty {
		c.save() // what it has to write is new
	}
	for _, c := range l.saving.changed {
		c.unsaved = false
		if c.loop != nil && c.phase != phaseGone && c.saved != 0 {
			dst = append(dst, c)
		}
	}
	clear(l.saving.changed)
	l.saving.changed = l.saving.changed[:0]
	gone, l.saving.gone = l.saving.gone, nil
	return dst, gone
}

// save notes that the connection is to be written down.
func (c *Conn) save() {
	if c.loop.saving.journal != nil && !c.unsaved {
		c.unsaved = true
		c.loop.saving.changed = append(c.loop.saving.changed, c)
	}
}

// Save has the connection written down: what belongs to it elsewhere has changed.
func (c *Conn) Save() { c.save() }

// AppendSaved encodes the state of the connection, for AdoptSaved. A long message that is
// half received is in the extent that is returned; nil: there is none.
func (c *Conn) AppendSaved(dst []byte) ([]byte, *journal.Extent) {
	var due tick
	if now := c.loop.tick(); c.due > now {
		due = c.due - now
	}
	p, j := c.decoder.part, c.loop.saving.journal
	if p == nil || len(p.msg) < extentAt || j == nil {
		c.releaseBegun()
		return c.encode(dst, due, false), nil
	}
	if c.begun == nil || c.begun.part != p || c.begun.Size() > len(p.msg) {
		c.releaseBegun()
		c.begun = &begun{part: p}
	}
	j.Extend(&c.begun.Extent, p.msg)
	return c.encodeWithout(dst, due, kept{message: len(p.msg)}, (*record.Layer).AppendState), &c.begun.Extent
}

// extentAt is the length of a message that is half received, bytes, from which on it is
// written down apart: each read then costs what it brings.
const extentAt = 4 << 10

// begun is a message that is half received, written down apart.
type begun struct {
	journal.Extent
	part *partial // of the message
}

// releaseBegun gives back what was written down apart.
func (c *Conn) releaseBegun() {
	if c.begun != nil && c.loop.saving.journal != nil {
		c.loop.saving.journal.Release(c.begun.Extent)
	}
	c.begun = nil
}

// FD is the socket, which stays the loop's.
func (c *Conn) FD() int { return int(c.fd) }

// Slot is where the connection is written down; 0: nowhere.
func (c *Conn) Slot() journal.Slot { return c.saved }

// Kept reports whether a keeper has a duplicate of the socket.
func (c *Conn) Kept() bool { return c.kept }

// Keep notes that a keeper has a duplicate of the socket, under the connection's slot.
func (c *Conn) Keep() {
	c.kept = true
	c.touch() // another process, to which it may have been exported, must know
}

// Resettle puts a staged connection into the slot that it had in the memory of a process
// that has died. That process has written n bytes of what its state has unwritten. A
// keeper has the socket.
func (c *Conn) Resettle(s journal.Slot, n int) {
	c.saved, c.kept = s, true
	c.save()
	if o := c.out; o != nil && n > 0 {
		if o.wrote(n, c.TLS != nil); o.waiting() == 0 && o.last == 0 {
			c.out, c.stalled = nil, 0
			c.updateInterest()
		}
		c.markDirty() // so that whoever waits for it hears of it
	}
}

// Replay takes what a process that has died had read, and not handled for good.
func (c *Conn) Replay(b []byte) {
	if c.phase == phaseGone {
		return
	}
	if j := c.loop.saving.journal; j != nil {
		j.WorkAgain(c.saved)
	}
	c.life = c.loop.tick()
	c.receive(b)
	c.loop.work(0)
}

// Recovered has the first turn note whose unread bytes it handles as what a process that
// has died may have handled.
func (l *Loop) Recovered() { l.saving.first = true }

// Abandon ends a staged connection of which the Handler has not heard.
func (c *Conn) Abandon() {
	_ = unix.Shutdown(int(c.fd), unix.SHUT_RDWR)
	c.Unstage()
}

// Condemn is Drop for a connection whose input is the fault: nothing more of it is handled.
func (c *Conn) Condemn(why Close) {
	c.decoder.takeUnread()
	c.Drop(why)
}

// wrote notes that n bytes went out.
func (o *outbound) wrote(n int, sealed bool) {
	if !sealed {
		o.off = min(o.off+n, len(o.buf))
		return
	}
	o.records = o.records[min(n, len(o.records)):]
	if len(o.records) == 0 {
		o.records = nil
		o.off += o.sealed
		o.sealed = 0
	}
}

// work notes whose input is handled next: should the process die of it, the next one
// knows.
func (l *Loop) work(s journal.Slot) {
	if l.saving.journal != nil {
		l.saving.journal.Work(s)
	}
}

// sealDirty makes records of what is to be written, before the turn is committed.
func (l *Loop) sealDirty() {
	l.saving.sealed = l.saving.sealed[:0]
	for _, c := range l.dirty {
		if c.TLS != nil && c.kept && c.phase != phaseGone {
			c.sealOut()
		}
	}
}

// sealOut seals the next batch, if the last one is written.
func (c *Conn) sealOut() {
	if c.out == nil && c.owesRecords() {
		c.out = c.loop.outbound()
	}
	o := c.out
	if o == nil || len(o.records) > 0 {
		return
	}
	all := &c.loop.saving.sealed
	from := len(*all)
	*all = append(*all, c.sealNext(o)...)
	o.records = (*all)[from:len(*all):len(*all)]
}

// readFor reads from a socket into the loop's buffer, through the journal if its state is
// written down.
func (l *Loop) readFor(s journal.Slot, kept bool, fd int) ([]byte, syscall.Errno) {
	if !kept || l.saving.mustRead && l.saving.journal.Full() {
		return l.Read(fd)
	}
	n, errno := l.saving.journal.Read(s, fd, l.buf)
	return l.buf[:n], errno
}

// writeFor is Write, through the journal if the state of the socket is written down.
func (l *Loop) writeFor(s journal.Slot, kept bool, fd int, b []byte) (int, syscall.Errno) {
	if !kept {
		return Write(fd, b)
	}
	return l.saving.journal.Write(s, fd, b)
}
