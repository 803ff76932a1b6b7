package conn

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
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

// decrypt opens what was read, and handles what it holds.
func (c *Conn) decrypt(b []byte) {
	if c.phase > phaseClosing {
		return // only the end is awaited
	}
	c.touch()
	data, err := c.TLS.Open(b)
	c.loop.sealing.used(c.TLS)
	if c.TLS.OwesUpdate() {
		c.markDirty()
	}
	c.ingest(data, false)
	if err != nil && c.phase <= phaseClosing {
		c.endTLS(err)
	}
}

// endTLS ends the connection because of what Layer.Open reported.
func (c *Conn) endTLS(err error) {
	var why Close
	var violation *record.ViolationError
	switch {
	case errors.Is(err, record.ErrCloseNotify):
		why = reasonEndOfStream.Close()
	case errors.As(err, &violation):
		why = reasonTLSViolation.Close(err)
	default:
		why = reasonTLSAlert.Close(err)
	}
	c.deliverUnread()
	if c.phase > phaseClosing {
		return // what was unread ended it
	}
	if c.why == nil {
		c.why = &why
	}
	c.linger()
	if c.phase == phaseGone {
		return
	}
	if !errors.Is(err, record.ErrCloseNotify) {
		if c.out == nil {
			c.out = c.loop.outbound()
		}
		o := c.out
		o.buf = o.buf[:o.off+o.sealed] // nothing follows the alert
		o.last = min(o.last, o.end())
		o.sent = 0 // what the reader holds ends elsewhere
		o.records = c.TLS.AppendAlert(o.records, err)
		c.loop.sealing.used(c.TLS)
	}
	c.markDirty()
	c.reportClosed()
}

// writeSealed writes what the socket takes; n bytes of it.
func (c *Conn) writeSealed(o *outbound) (n int, errno syscall.Errno) {
	if c.kept {
		return c.writeRecords(o)
	}
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
			o.records, o.recordsSent = nil, 0
			o.off += o.sealed
			o.sealed = 0
		case kept:
			o.records = b[wrote:]
			o.recordsSent = max(0, o.recordsSent-wrote)
			return n, errno
		default:
			o.records = bytes.Clone(b[wrote:])
			return n, errno
		}
	}
}

// writeRecords writes what the socket takes of the records that are committed.
func (c *Conn) writeRecords(o *outbound) (n int, errno syscall.Errno) {
	if len(o.records) == 0 {
		return 0, 0
	}
	n, errno = c.loop.saving.journal.Write(c.saved, int(c.fd), o.records)
	if n < len(o.records) {
		o.records = bytes.Clone(o.records[n:]) // they were the loop's, for this turn
		o.recordsSent = max(0, o.recordsSent-n)
		return n, errno
	}
	o.wrote(n, true)
	o.recordsSent = 0
	return n, 0
}

// sealNext seals the next batch: before it the KeyUpdate that is owed, if any,
// so that however often it was asked for meanwhile there is one; behind the last,
// in phaseLingering, the end. The records are good until it is called again.
func (c *Conn) sealNext(o *outbound) []byte {
	s := &c.loop.sealing
	s.buf = s.buf[:0]
	if c.TLS.OwesUpdate() {
		c.touch()
		s.buf = c.TLS.AppendKeyUpdate(s.buf)
	}
	switch n := min(o.pending(), sealBatch); {
	case n > 0:
		c.touch()
		o.sealed = n
		most := cmp.Or(c.loop.cfg.RecordSize, record.MaxPlaintext)
		for part := range slices.Chunk(o.buf[o.off:o.off+n], most) {
			s.buf = c.TLS.Seal(s.buf, part)
		}
	case c.phase == phaseLingering:
		c.touch()
		s.buf = c.TLS.AppendCloseNotify(s.buf)
	case len(s.buf) == 0:
		return nil
	}
	s.used(c.TLS)
	return s.buf
}
