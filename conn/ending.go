package conn

import "golang.org/x/sys/unix"

// Close begins the close handshake: what was sent before goes out first, then
// a Close frame; messages of the charger are received until its own Close
// frame, or the time-out. With NoFrame the socket is shut down for writing instead,
// and the charger's end of stream takes the place of its Close frame.
func (c *Conn) Close(why Close) {
	if c.phase != phaseOpen {
		return
	}
	c.why = &why
	c.phase = phaseClosing
	c.touch()
	c.due = c.loop.tick() + ticks(c.loop.cfg.CloseTimeout)
	if why.NoFrame {
		c.markDirty() // flush shuts down
	} else {
		c.write(func(b []byte) []byte { return appendClose(b, why.Code, why.Reason) })
	}
	c.arm()
}

// Drop ends the connection now: a Close frame is sent, and nothing received
// any more. Messages that are here already are still handled.
func (c *Conn) Drop(why Close) {
	if c.phase > phaseClosing {
		return
	}
	open := c.phase == phaseOpen
	if c.why == nil {
		c.why = &why
	}
	if why.Code != CodeProtocolError && why.Code != CodeInvalidData && why.Code != CodeTooBig {
		c.deliverUnread()
	}
	if c.phase > phaseClosing {
		return // what was unread ended it
	}
	c.linger()
	if open {
		c.write(func(b []byte) []byte { return appendClose(b, why.Code, why.Reason) })
	} else {
		c.markDirty()
	}
	c.reportClosed()
}

// ReadLeft handles what the socket has received by now, for a connection that is
// to be dropped for no fault of its own; not what comes meanwhile, or a charger
// that never stops would hold up the loop. It must not be called by a Handler's
// Message. It stops where reading is paused: what is behind that was never taken.
func (c *Conn) ReadLeft() {
	if c.phase > phaseClosing {
		return
	}
	c.loop.saving.mustRead = true
	defer func() { c.loop.saving.mustRead = false }()
	left, err := unix.IoctlGetInt(int(c.fd), unix.SIOCINQ)
	for err == nil && left > 0 && c.phase <= phaseClosing && c.pause == 0 && !c.queued {
		n := c.read()
		if n == 0 {
			return
		}
		left -= n
	}
}

// peerClosed answers the charger's Close frame, or takes it as the answer to ours.
func (c *Conn) peerClosed(payload []byte) {
	why, fault := parseClose(payload)
	if fault != nil {
		c.Drop(*fault)
		return
	}
	open := c.phase == phaseOpen
	if open {
		c.why = &why
	}
	c.linger()
	if open {
		c.write(func(b []byte) []byte { return appendClose(b, why.Code, "") })
	} else {
		c.markDirty() // so that flush shuts down
	}
	c.reportClosed()
}

// linger enters phaseLingering.
func (c *Conn) linger() {
	l := c.loop
	c.phase = phaseLingering
	c.touch()
	c.due = l.tick() + ticks(l.cfg.CloseTimeout)
	c.decoder = decoder{}
	c.pause, c.starved = 0, 0
	c.account()
	if c.unwatched {
		c.closeNow(*c.why)
		return
	}
	c.updateInterest()
	c.arm()
}

// closeNow closes the socket at once: the connection is dead, or out of time.
func (c *Conn) closeNow(why Close) {
	if c.phase == phaseGone {
		return
	}
	if c.why == nil {
		c.why = &why
	}
	c.deliverUnread()
	if c.phase == phaseGone {
		return
	}
	l := c.loop
	c.phase = phaseGone
	c.decoder = decoder{}
	if c.TLS != nil {
		c.TLS.Wipe()
	}
	c.account()
	if c.out != nil {
		l.recycle(c.out)
		c.out = nil
	}
	l.wheel.disarm(c)
	if !c.unwatched {
		_ = l.poller.remove(int(c.fd))
	}
	// Another process may hold a duplicate during a hand-over: only shutdown
	// makes sure that the end reaches the charger.
	_ = unix.Shutdown(int(c.fd), unix.SHUT_RDWR)
	_ = unix.Close(int(c.fd))
	l.gone = append(l.gone, c)
	if c.exported != 0 && l.handover.active {
		l.handover.gone = append(l.handover.gone, c.exported)
	}
	c.releaseBegun()
	if c.saved != 0 {
		l.saving.gone = append(l.saving.gone, GoneSlot{c.saved, c.kept})
	}
	c.reportClosed()
}

// deliverUnread handles what was received while reading was paused: it takes
// no memory that is not held already, and a complete message is never dropped.
func (c *Conn) deliverUnread() {
	if c.phase > phaseClosing {
		return
	}
	c.leaving = true
	b := c.decoder.takeUnread()
	lim := c.bounds()
	for len(b) > 0 && c.phase <= phaseClosing {
		ev, rest, ok, fault := c.decoder.next(b, lim)
		if fault != nil {
			return
		}
		if ok && (ev.op == opText || ev.op == opBinary) {
			c.handle(ev)
		}
		b = rest
	}
}

// reportClosed calls Handler.Closed, once.
func (c *Conn) reportClosed() {
	if !c.reported {
		c.reported = true
		c.loop.handler.Closed(c, *c.why)
	}
}
