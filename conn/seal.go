package conn

import (
	"bytes"
	"errors"
	"syscall"

	"holdfast/conn/record"
)

// sealing is what a loop shares among its connections with TLS.
type sealing struct {
	warm *record.Cache
	buf  []byte // records on their way to a socket
}

const (
	// warmLayers keep their expanded keys, about 1 KiB each way.
	warmLayers = 256
	// sealBatch is how much is sealed before it is written: what the socket
	// does not take of it must be kept.
	sealBatch = 4 * record.MaxPlaintext
)

// used keeps account of layers with expanded keys.
func (s *sealing) used(l *record.Layer) {
	if s.warm == nil {
		s.warm = record.NewCache(warmLayers)
	}
	s.warm.Used(l)
}

// open decrypts what was read, and handles what it holds.
func (c *Conn) open(b []byte) {
	if c.phase > phaseClosing {
		return // only the end is awaited
	}
	c.touch()
	data, err := c.TLS.Open(b)
	c.loop.sealing.used(c.TLS)
	if c.TLS.OwesUpdate() {
		c.writeRecord((*record.Layer).AppendKeyUpdate)
	}
	c.ingest(data, false)
	if err != nil && c.phase <= phaseClosing {
		c.endTLS(err)
	}
}

// endTLS ends the connection because of what Layer.Open reported.
func (c *Conn) endTLS(err error) {
	why := Close{CodeAbnormal, err.Error(), ByCharger}
	var violation *record.ViolationError
	switch {
	case errors.Is(err, record.ErrCloseNotify):
		why.Reason = "connection ended without a close frame"
	case errors.As(err, &violation):
		why.By = ByGateway
	}
	c.deliverUnread()
	if c.phase > phaseClosing {
		return // what was unread ended it
	}
	if c.why == nil {
		c.why = &why
	}
	c.drain()
	if c.phase == phaseGone {
		return
	}
	if !errors.Is(err, record.ErrCloseNotify) {
		if o := c.out; o != nil {
			o.buf = o.buf[:o.off+o.sealed] // nothing follows the alert
		}
		c.writeRecord(func(l *record.Layer, dst []byte) []byte { return l.AppendAlert(dst, err) })
	}
	c.markDirty()
	c.report()
}

// writeRecord has add append a record without data to what is unwritten.
func (c *Conn) writeRecord(add func(l *record.Layer, dst []byte) []byte) {
	if c.out == nil {
		c.out = c.loop.outbound()
	}
	o := c.out
	c.touch()
	o.records = add(c.TLS, o.records)
	c.loop.sealing.used(c.TLS)
	if o.waiting() > c.loop.cfg.WriteBuffer/2 && c.phase == phaseOpen {
		c.setPause(c.pause | pauseOut)
	}
	c.markDirty()
}

// writeSealed writes what the socket takes; n bytes of it.
func (c *Conn) writeSealed(o *outbound) (n int, errno syscall.Errno) {
	for {
		b, kept := o.records, true
		if len(b) == 0 {
			kept = false
			if b = c.sealNext(o); len(b) == 0 {
				return n, 0
			}
		}
		wrote, errno := Write(int(c.fd), b)
		n += wrote
		switch {
		case wrote == len(b):
			o.records = nil
			o.off += o.sealed
			o.sealed = 0
		case kept:
			o.records = b[wrote:]
			return n, errno
		default:
			o.records = bytes.Clone(b[wrote:])
			return n, errno
		}
	}
}

// sealNext seals the next batch, and behind the last, in phaseDraining, the end.
// The records are good until it is called again.
func (c *Conn) sealNext(o *outbound) []byte {
	s := &c.loop.sealing
	switch n := min(o.pending(), sealBatch); {
	case n > 0:
		c.touch()
		o.sealed = n
		s.buf = c.TLS.Seal(s.buf[:0], o.buf[o.off:o.off+n])
	case c.phase == phaseDraining:
		c.touch()
		s.buf = c.TLS.AppendCloseNotify(s.buf[:0])
	default:
		return nil
	}
	s.used(c.TLS)
	return s.buf
}
