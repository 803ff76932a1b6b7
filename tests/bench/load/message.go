package load

import (
	"bytes"
	"fmt"
	"strings"

	"holdfast/tests/bench/ws"
)

// idSize is the length of a message id: eight hex digits for the charger, eight
// for the number of its message.
const idSize = 16

// message is the one CALL that all chargers send, but for its id. It is masked
// once: only the id is written for each send.
type message struct {
	plain  []byte // what comes back
	id     int    // where the id starts
	masked []byte
	head   int // bytes of masked before the payload
}

// maskKey is every frame's: fixed, because masking protects proxies from
// browsers and is not what is measured here. The server unmasks as ever.
var maskKey = [4]byte{0x5a, 0x17, 0xc3, 0x9e}

// newMessage returns a message of size bytes; answered: what comes back is the CALLRESULT.
func newMessage(size int, answered bool) (*message, error) {
	const before, between, after = `[2,"`, `","Heartbeat",{"pad":"`, `"}]`
	pad := size - len(before) - idSize - len(between) - len(after)
	if pad < 0 {
		return nil, fmt.Errorf("a message is at least %d bytes", size-pad)
	}
	plain := []byte(before + strings.Repeat("0", idSize) + between + strings.Repeat("x", pad) + after)
	masked := ws.AppendMasked(nil, ws.Text, maskKey, plain)
	if answered {
		plain[1] = '3'
	}
	return &message{plain: plain, id: len(before), masked: masked, head: len(masked) - len(plain)}, nil
}

// frame returns the bytes to send, valid until the next call.
func (m *message) frame(charger, number uint32) []byte {
	dst := m.masked[m.head+m.id:]
	hex(dst[:8], charger)
	hex(dst[8:16], number)
	for i := range dst[:idSize] {
		dst[i] ^= maskKey[(m.id+i)&3]
	}
	return m.masked
}

// echoed reports whether b is the message with that id, byte for byte.
func (m *message) echoed(b []byte, charger, number uint32) bool {
	dst := m.plain[m.id:]
	hex(dst[:8], charger)
	hex(dst[8:16], number)
	return bytes.Equal(b, m.plain)
}

func hex(dst []byte, v uint32) {
	for i := range dst {
		dst[i] = "0123456789abcdef"[v>>28]
		v <<= 4
	}
}
