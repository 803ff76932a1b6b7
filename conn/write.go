package conn

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Send queues a message for the charger; it is written at the end of the turn.
// position is where it ends among the bytes that wait: Handler.Sent reports when
// everything up to there is in the socket. The error is ErrClosing or ErrFull.
func (c *Conn) Send(payload []byte, binary bool) (position uint64, err error) {
	if c.phase != phaseOpen {
		return 0, ErrClosing
	}
	if o := c.out; o != nil && o.pending()+len(payload) > c.loop.cfg.WriteBuffer {
		return 0, ErrFull
	}
	op := opText
	if binary {
		op = opBinary
	}
	compressed := false
	if c.DeflateBits != 0 && len(payload) >= minCompressed && (c.DeflateBits == 15 || len(payload) <= 1<<c.DeflateBits) {
		if b := c.loop.deflate.compress(payload); b != nil {
			payload, compressed = b, true
		}
	}
	c.write(func(b []byte) []byte {
		return append(appendHeader(b, op, compressed, len(payload)), payload...)
	})
	c.out.last = c.out.end()
	return c.out.last, nil
}

// write has add append a whole frame to what is unwritten.
func (c *Conn) write(add func([]byte) []byte) {
	if c.phase == phaseGone {
		return
	}
	if c.out == nil {
		c.out = c.loop.outbound()
	}
	if c.stalled != 0 {
		c.touch()
	}
	c.out.buf = add(c.out.buf)
	if c.out.waiting() > c.loop.cfg.WriteBuffer/2 && c.phase == phaseOpen {
		// It sends but does not read: it gets no further answers to buffer.
		c.setPause(c.pause | pauseOut)
	}
	c.markDirty()
}

func (c *Conn) markDirty() {
	if !c.dirty {
		c.dirty = true
		c.loop.dirty = append(c.loop.dirty, c)
	}
}

// flush writes what it can, and when all is written goes on to whatever waited
// for that.
func (c *Conn) flush() {
	if c.phase == phaseGone {
		return
	}
	if c.out == nil && c.owesRecords() {
		c.out = c.loop.outbound()
	}
	if o := c.out; o != nil {
		n, errno := c.writeOut(o)
		if errno != 0 && errno != syscall.EAGAIN {
			c.writeFailed(errno)
			return
		}
		if c.kept && len(o.records) == 0 && (c.owesRecords() || c.TLS != nil && o.waiting() > 0) {
			if o.last > 0 {
				c.sent(o)
			}
			c.markDirty() // the next batch is sealed, and committed, first
			return
		}
		if o.waiting() > 0 {
			c.stall(n)
			return
		}
		if c.stalled != 0 {
			c.touch()
		}
		c.out, c.stalled = nil, 0 // first: the Handler may send again
		c.sent(o)
		c.loop.recycle(o)
		c.updateInterest()
		c.resume(pauseOut)
	}
	if c.phase == phaseLingering || c.leavesSilently() {
		_ = unix.Shutdown(int(c.fd), unix.SHUT_WR)
	}
}

// owesRecords reports whether TLS has records to write that hold no data.
func (c *Conn) owesRecords() bool {
	return c.TLS != nil && (c.TLS.OwesUpdate() || c.phase == phaseLingering && !c.TLS.WriteClosed())
}

// leavesSilently reports whether nothing follows what is unwritten, not even a Close
// frame or the end of TLS, though the charger is still listened to.
func (c *Conn) leavesSilently() bool { return c.phase == phaseClosing && c.why.NoFrame }

// writeOut writes what the socket takes; n bytes of it.
func (c *Conn) writeOut(o *outbound) (n int, errno syscall.Errno) {
	if c.TLS != nil {
		return c.writeSealed(o)
	}
	if o.pending() == 0 {
		return 0, 0 // a process that has died has written it
	}
	n, errno = c.loop.writeFor(c.saved, c.kept, int(c.fd), o.buf[o.off:])
	o.off += n
	return n, errno
}

// writeFailed handles a connection that takes no more bytes. What the charger
// sent before it ended is still to be read, and the end comes from there; while
// reading is paused, that waits until it is resumed.
func (c *Conn) writeFailed(errno syscall.Errno) {
	c.loop.recycle(c.out)
	c.out, c.stalled = nil, 0
	c.touch()
	if c.phase == phaseLingering {
		c.closeNow(reasonWriteFailed.Close(errno))
		return
	}
	c.resume(pauseOut)
}

// stall waits for the socket to take more; n bytes were just written.
func (c *Conn) stall(n int) {
	o := c.out
	c.touch()
	if o.last > 0 && n > 0 {
		c.sent(o)
	}
	if o.off >= compactAt && o.off > o.pending() {
		o.base += uint64(o.off)
		o.buf = o.buf[:copy(o.buf, o.buf[o.off:])]
		o.off = 0
	}
	first := c.stalled == 0
	if first || n > 0 {
		c.stalled = max(1, c.loop.tick())
	}
	if first {
		c.updateInterest()
		c.arm()
	}
	if o.waiting() <= c.loop.cfg.WriteBuffer/4 {
		c.resume(pauseOut)
	}
}

// sent reports to the Handler how far the writing has come, if it waits for that.
func (c *Conn) sent(o *outbound) {
	if o.last > 0 && !c.reported {
		c.loop.handler.Sent(c, o.base+uint64(o.off))
	}
}

// end is the position behind everything queued so far.
func (o *outbound) end() uint64 { return o.base + uint64(len(o.buf)) }

const (
	compactAt = 16 << 10 // written bytes from which on the rest is moved to the front
	maxSpare  = 64       // outbounds kept for the next writer
	spareSize = 16 << 10 // and their largest buffer, bytes
)

func (l *Loop) outbound() *outbound {
	if n := len(l.spare); n > 0 {
		o := l.spare[n-1]
		l.spare = l.spare[:n-1]
		return o
	}
	return new(outbound)
}

func (l *Loop) recycle(o *outbound) {
	if o == nil || len(l.spare) == maxSpare || cap(o.buf) > spareSize {
		return
	}
	*o = outbound{buf: o.buf[:0]}
	l.spare = append(l.spare, o)
}
