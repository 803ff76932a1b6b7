package conn

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// minCompressed is the shortest message that is sent compressed, in bytes:
// below it the header of a fresh window costs more than it saves.
const minCompressed = 512

// acceptDeflate answers the Sec-WebSocket-Extensions of a client, RFC 7692
// section 5: the first offer of permessage-deflate that can be met, with no
// context takeover either way, so that no window outlives a message. It
// returns the response's header value and the size of the window that may be
// used toward the client, in bits; "" and 0 when no offer fits.
func acceptDeflate(offers []string) (response string, windowBits uint8) {
	for _, offer := range strings.Split(strings.Join(offers, ","), ",") {
		params := strings.Split(offer, ";")
		if !strings.EqualFold(strings.TrimSpace(params[0]), "permessage-deflate") {
			continue
		}
		if bits, ok := deflateWindow(params[1:]); ok {
			response = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
			if bits != 0 {
				return response + "; server_max_window_bits=" + strconv.Itoa(int(bits)), bits
			}
			return response, 15
		}
	}
	return "", 0
}

// deflateWindow reads the parameters of one offer. bits is 0 when the client
// does not limit the server's window.
func deflateWindow(params []string) (bits uint8, ok bool) {
	seen := make(map[string]bool, len(params))
	for _, p := range params {
		name, value, hasValue := strings.Cut(strings.TrimSpace(p), "=")
		name = strings.ToLower(strings.TrimSpace(name))
		value = strings.Trim(strings.TrimSpace(value), `"`)
		if seen[name] {
			return 0, false
		}
		seen[name] = true
		switch name {
		case "server_no_context_takeover", "client_no_context_takeover":
			if hasValue {
				return 0, false
			}
		case "client_max_window_bits":
			if hasValue && !windowBits(value) {
				return 0, false
			}
		case "server_max_window_bits":
			if !windowBits(value) {
				return 0, false
			}
			n, _ := strconv.Atoi(value)
			bits = uint8(n)
		default:
			return 0, false
		}
	}
	return bits, true
}

// windowBits checks a window size: 8 to 15 without leading zeros, section 7.1.2.
func windowBits(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n >= 8 && n <= 15 && s == strconv.Itoa(n)
}

// deflater compresses and inflates for all connections of a loop, one message
// at a time. Its tables are made when they are first needed.
type deflater struct {
	writer *flate.Writer
	out    bytes.Buffer
	reader io.ReadCloser
	in     inflateSource
	plain  []byte
}

// keepPlain is the largest inflate buffer kept between messages, in bytes.
const keepPlain = 64 << 10

// compress returns payload compressed, RFC 7692 section 7.2.1; the result is
// good until the next call. It returns nil when that would not be shorter.
func (d *deflater) compress(payload []byte) []byte {
	d.out.Reset()
	if d.writer == nil {
		d.writer, _ = flate.NewWriter(&d.out, flate.BestSpeed) // errs on a bad level only
	}
	d.writer.Reset(&d.out)
	_, _ = d.writer.Write(payload) // a bytes.Buffer takes everything
	_ = d.writer.Flush()
	b := bytes.TrimSuffix(d.out.Bytes(), flushMark)
	if len(b) >= len(payload) {
		return nil
	}
	return b
}

var (
	flushMark = []byte{0x00, 0x00, 0xff, 0xff}
	// inflateTail completes a message: the flush mark that the sender cut off
	// and an empty final block, so that the reader ends with io.EOF.
	inflateTail = append(bytes.Clone(flushMark), 0x01, 0x00, 0x00, 0xff, 0xff)
)

// inflateSource reads a payload and then inflateTail.
type inflateSource struct {
	payload, tail bytes.Reader
}

func (s *inflateSource) ReadByte() (byte, error) {
	if s.payload.Len() > 0 {
		return s.payload.ReadByte()
	}
	return s.tail.ReadByte()
}

func (s *inflateSource) Read(p []byte) (int, error) {
	if s.payload.Len() > 0 {
		return s.payload.Read(p)
	}
	return s.tail.Read(p)
}

// inflate returns a compressed message as it was before, at most maxMessage
// bytes, good until the next call.
func (d *deflater) inflate(payload []byte, maxMessage int, text bool) ([]byte, *Close) {
	d.in.payload.Reset(payload)
	d.in.tail.Reset(inflateTail)
	if d.reader == nil {
		d.reader = flate.NewReader(&d.in)
	} else if err := d.reader.(flate.Resetter).Reset(&d.in, nil); err != nil {
		return nil, reasonNotInflatable.fault()
	}
	if cap(d.plain) > keepPlain {
		d.plain = nil
	}
	d.plain = d.plain[:0]
	for {
		if len(d.plain) == cap(d.plain) {
			d.plain = append(d.plain, 0)[:len(d.plain)]
		}
		n, err := d.reader.Read(d.plain[len(d.plain):cap(d.plain)])
		d.plain = d.plain[:len(d.plain)+n]
		switch {
		case len(d.plain) > maxMessage:
			return nil, reasonInflatedTooBig.fault()
		case errors.Is(err, io.EOF):
			if text && !utf8.Valid(d.plain) {
				return nil, reasonNotUTF8.fault()
			}
			return d.plain, nil
		case err != nil:
			return nil, reasonNotInflatable.fault()
		}
	}
}
