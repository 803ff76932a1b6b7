package sim

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"holdfast/tests/raw"
)

// maxHeader is the longest header of a client's frame: 2 bytes, 8 of length,
// 4 of mask (RFC 6455 section 5.2).
const maxHeader = 14

// outBuffers are for frames on their way out, shared by all chargers.
var outBuffers = sync.Pool{New: func() any { b := make([]byte, 0, 1024); return &b }}

// writeFrame writes one final, masked frame in one Write. fill appends the payload.
func writeFrame(w io.Writer, op ws.OpCode, fill func(dst []byte) []byte) error {
	buf := outBuffers.Get().(*[]byte)
	defer outBuffers.Put(buf)
	var header [maxHeader]byte
	b := fill(append((*buf)[:0], header[:]...))
	*buf = b[:0]

	payload := b[maxHeader:]
	h := raw.AppendHeader(header[:0], raw.Fin|byte(op), true, uint64(len(payload)))
	start := maxHeader - len(h) - 4
	copy(b[start:], h)
	mask := b[maxHeader-4 : maxHeader]
	binary.NativeEndian.PutUint32(mask, rand.Uint32())
	ws.Cipher(payload, [4]byte(mask), 0)
	_, err := w.Write(b[start:])
	return err
}

// frameReader reads what a server sends. The bytes it returns are good until the
// next read.
type frameReader struct {
	br      *bufio.Reader
	state   ws.State
	message []byte // of the fragmented message so far
	control [ws.MaxControlFramePayloadSize]byte
}

var errTooLong = errors.New("protocol violation: message too long")

// next returns a whole message, or a control frame.
func (r *frameReader) next() (op ws.OpCode, payload []byte, err error) {
	for {
		h, err := ws.ReadHeader(r.br)
		if err != nil {
			return 0, nil, err
		}
		if err := ws.CheckHeader(h, r.state); err != nil {
			return 0, nil, fmt.Errorf("protocol violation: %w", err)
		}
		if h.OpCode.IsControl() {
			payload = r.control[:h.Length]
			_, err := io.ReadFull(r.br, payload)
			return h.OpCode, payload, err
		}
		if h.OpCode != ws.OpContinuation {
			r.message = r.message[:0]
		}
		have := len(r.message)
		if int64(have)+h.Length > maxMessage {
			return 0, nil, errTooLong
		}
		r.message = append(r.message, make([]byte, h.Length)...)
		if _, err := io.ReadFull(r.br, r.message[have:]); err != nil {
			return 0, nil, err
		}
		if !h.Fin {
			r.state = r.state.Set(ws.StateFragmented)
			continue
		}
		r.state = r.state.Clear(ws.StateFragmented)
		if !utf8.Valid(r.message) {
			return 0, nil, errors.New("protocol violation: text is not UTF-8")
		}
		return ws.OpText, r.message, nil
	}
}
