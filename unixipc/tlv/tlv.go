// Package tlv is how state is written down for another process, perhaps of
// another version: a header, then fields in ascending order, each with its
// number and length. It knows no state; conn and relay say which fields there
// are.
//
//	header:  magic (2 bytes) | version (1 byte)
//	field:   uvarint number<<1 | required | uvarint length | value
//	end:     0 (1 byte), and nothing after it
//
// Numbers begin at 1, so that no field looks like the end; and because of the
// end no state is the beginning of another. The fields of a list's element,
// which has a length already, have neither header nor end.
//
// The rule for adding a field: give it the next number, leave it out when it is
// zero, and never change what a number means. A reader skips a field that it
// does not know, unless the writer marked it required because ignoring it would
// be wrong; then it refuses the whole state. Whoever knows a field that is
// marked so calls Required before it takes the value.
//
// There is one encoding of each state: decoding accepts no other, so that
// encoding what was decoded gives the same bytes.
package tlv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// HeaderSize is the size of magic and version, in bytes.
const HeaderSize = 3

// AppendHeader begins a state.
func AppendHeader(dst []byte, magic [2]byte, version uint8) []byte {
	return append(dst, magic[0], magic[1], version)
}

// AppendUint appends field id unless v is zero.
func AppendUint(dst []byte, id uint32, v uint64) []byte {
	if v == 0 {
		return dst
	}
	dst = appendTag(dst, id, false, uvarintLen(v))
	return binary.AppendUvarint(dst, v)
}

// AppendBool appends field id if v is true.
func AppendBool(dst []byte, id uint32, v bool) []byte {
	if !v {
		return dst
	}
	return AppendUint(dst, id, 1)
}

// AppendBytes appends field id unless v is empty.
func AppendBytes[T string | []byte](dst []byte, id uint32, v T) []byte {
	if len(v) == 0 {
		return dst
	}
	return append(appendTag(dst, id, false, len(v)), v...)
}

// AppendItem appends one element of a list, which may be empty.
func AppendItem(dst []byte, id uint32, v []byte) []byte {
	return append(appendTag(dst, id, false, len(v)), v...)
}

// AppendRequired appends a field that a reader must know.
func AppendRequired(dst []byte, id uint32, v []byte) []byte {
	return append(appendTag(dst, id, true, len(v)), v...)
}

// EndRequired makes what was appended to dst since it had at bytes the value of field id,
// which a reader must know: AppendRequired without a buffer for the value.
func EndRequired(dst []byte, at int, id uint32) []byte {
	n := len(dst) - at
	var b [2 * binary.MaxVarintLen64]byte
	tag := appendTag(b[:0], id, true, n)
	dst = append(dst, tag...)
	copy(dst[at+len(tag):], dst[at:at+n])
	copy(dst[at:], tag)
	return dst
}

// AppendEnd ends a state.
func AppendEnd(dst []byte) []byte { return append(dst, 0) }

func appendTag(dst []byte, id uint32, required bool, n int) []byte {
	tag := uint64(id) << 1
	if required {
		tag |= 1
	}
	dst = binary.AppendUvarint(dst, tag)
	return binary.AppendUvarint(dst, uint64(n))
}

func uvarintLen(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

// Errors of a Reader; they are wrapped with what and where.
var (
	ErrTruncated = errors.New("ends early")
	ErrCanonical = errors.New("is not in the one encoding there is")
	ErrRequired  = errors.New("has a field that this version must know and does not")
	ErrValue     = errors.New("has a value that cannot be")
)

// A Reader reads the fields of one state. Its first error stops it.
type Reader struct {
	what     string
	rest     []byte
	last     uint32
	field    []byte
	id       uint32
	ends     bool // an end is to come
	required bool // the current field is marked so, and Required was not called
	skipped  bool // the current field is not known: it may come again
	err      error
}

// NewReader reads the header of a state that what describes, such as
// "connection state". versions are what the reader understands.
func NewReader(what string, b []byte, magic [2]byte, versions ...uint8) *Reader {
	r := &Reader{what: what}
	switch {
	case len(b) < HeaderSize:
		r.fail(0, ErrTruncated)
	case b[0] != magic[0] || b[1] != magic[1]:
		r.err = fmt.Errorf("%s does not begin with %q", what, magic[:])
	default:
		for _, v := range versions {
			if v == b[2] {
				r.rest, r.ends = b[HeaderSize:], true
				return r
			}
		}
		r.err = fmt.Errorf("%s is of version %d; understood here: %v", what, b[2], versions)
	}
	return r
}

func (r *Reader) fail(id uint32, err error) {
	if r.err == nil {
		r.err = fmt.Errorf("%s: field %d %w", r.what, id, err)
	}
	r.rest = nil
}

// Next goes to the next field and returns its number; false at the end, or
// after an error. A number comes again only if it is among lists, or is not
// known. Fields that were not understood, because Next followed Next, are
// skipped; Unknown says so for those that must not be.
func (r *Reader) Next(lists ...uint32) (id uint32, ok bool) {
	if r.err != nil {
		return 0, false
	}
	if len(r.rest) == 0 {
		if r.ends {
			r.fail(r.last, ErrTruncated)
		}
		return 0, false
	}
	tag, err := r.uvarint()
	if tag == 0 && err == nil && r.ends {
		if r.ends = false; len(r.rest) > 0 {
			r.fail(0, ErrCanonical)
		}
		return 0, false
	}
	var size uint64
	if err == nil {
		size, err = r.uvarint()
	}
	known := !r.skipped
	r.id, r.required, r.skipped = uint32(tag>>1), tag&1 != 0, false
	switch {
	case err != nil:
		r.fail(r.last, err)
		return 0, false
	case tag>>1 == 0, tag>>1 > math.MaxUint32, r.id < r.last, r.id == r.last && known && !contains(lists, r.id):
		r.fail(r.id, ErrCanonical)
		return 0, false
	case size > uint64(len(r.rest)):
		r.fail(r.id, ErrTruncated)
		return 0, false
	}
	r.last = r.id
	r.field, r.rest = r.rest[:size:size], r.rest[size:]
	return r.id, true
}

func contains(ids []uint32, id uint32) bool {
	for _, i := range ids {
		if i == id {
			return true
		}
	}
	return false
}

// uvarint reads one in its shortest form.
func (r *Reader) uvarint() (uint64, error) {
	v, n := binary.Uvarint(r.rest)
	switch {
	case n == 0:
		return 0, ErrTruncated
	case n < 0 || n != uvarintLen(v):
		return 0, ErrCanonical
	}
	r.rest = r.rest[n:]
	return v, nil
}

// Unknown is for the field that nobody understood: an error if it is required.
func (r *Reader) Unknown() {
	if r.skipped = true; r.required {
		r.fail(r.id, ErrRequired)
	}
}

// Required is for a field that is written with AppendRequired.
func (r *Reader) Required() {
	if !r.required {
		r.fail(r.id, ErrCanonical)
	}
	r.required = false
}

// Invalid reports that the current field's value cannot be.
func (r *Reader) Invalid() { r.fail(r.id, ErrValue) }

// Uint is the current field as a number of at most limit.
func (r *Reader) Uint(limit uint64) uint64 {
	v, n := binary.Uvarint(r.field)
	switch {
	case r.required || n <= 0 || n != len(r.field) || n != uvarintLen(v) || v == 0:
		r.fail(r.id, ErrCanonical)
		return 0
	case v > limit:
		r.fail(r.id, ErrValue)
		return 0
	}
	return v
}

// Bool is the current field as a truth value.
func (r *Reader) Bool() bool { return r.Uint(1) == 1 }

// Bytes is the current field, of at most limit bytes. It aliases what is read.
func (r *Reader) Bytes(limit int) []byte {
	switch {
	case r.required || len(r.field) == 0:
		r.fail(r.id, ErrCanonical)
		return nil
	case len(r.field) > limit:
		r.fail(r.id, ErrValue)
		return nil
	}
	return r.field
}

// Item is the current element of a list, of at most limit bytes.
func (r *Reader) Item(limit int) []byte {
	switch {
	case r.required:
		r.fail(r.id, ErrCanonical)
		return nil
	case len(r.field) > limit:
		r.fail(r.id, ErrValue)
		return nil
	}
	return r.field
}

// String is Bytes, copied.
func (r *Reader) String(limit int) string { return string(r.Bytes(limit)) }

// Err is what went wrong, if anything.
func (r *Reader) Err() error { return r.err }

// NewFields reads fields without a header: those of a list's element.
func NewFields(what string, b []byte) *Reader { return &Reader{what: what, rest: b} }

// Fail stops the reader with an error of whoever reads a field's inside.
func (r *Reader) Fail(err error) {
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("%s: field %d: %w", r.what, r.id, err)
		r.rest = nil
	}
}
