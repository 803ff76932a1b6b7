package proc

import (
	"io"

	"holdfast/unixipc"
)

// readSize is how much one read of a link takes, unless a frame is longer.
const readSize = 64 << 10

// frameReader cuts a stream into frames, many for each read.
type frameReader struct {
	src        io.Reader
	maxPayload int
	buf        []byte
	start, end int // of what is read and not yet cut
}

// next returns the next frame that is here whole, without reading. ok is false
// when there is none. The frame is good until the next fill.
func (r *frameReader) next() (f unixipc.Frame, ok bool, err error) {
	f, n, err := unixipc.Parse(r.buf[r.start:r.end], r.maxPayload)
	r.start += n
	return f, n > 0, err
}

// fill reads once. Call it when next has returned ok == false.
func (r *frameReader) fill() error {
	part := r.buf[r.start:r.end]
	switch {
	case len(part) == 0 && len(r.buf) != readSize:
		r.buf = make([]byte, readSize) // the first, or after a long frame
	case len(part) == len(r.buf):
		longer := make([]byte, 2*len(r.buf))
		copy(longer, part)
		r.buf = longer
	default:
		copy(r.buf, part)
	}
	r.start, r.end = 0, len(part)
	n, err := r.src.Read(r.buf[r.end:])
	r.end += n
	if n > 0 {
		return nil
	}
	return err
}
