package sim

import (
	"strconv"
	"strings"
)

// MessageID identifies a CALL of a run: which charger's, and which of its
// messages, counting from 1 without gaps. On the wire: "9f0c2a11.42.7", under
// the 36 characters that OCPP-J section 4.1.4 allows.
type MessageID struct {
	Run     string
	Charger int
	Seq     uint32
}

func (m MessageID) append(dst []byte) []byte {
	dst = append(dst, m.Run...)
	dst = append(dst, '.')
	dst = strconv.AppendInt(dst, int64(m.Charger), 10)
	dst = append(dst, '.')
	return strconv.AppendUint(dst, uint64(m.Seq), 10)
}

func (m MessageID) String() string { return string(m.append(nil)) }

// ParseMessageID reads what a simulated charger wrote.
func ParseMessageID(s string) (m MessageID, ok bool) {
	run, rest, ok := strings.Cut(s, ".")
	if !ok {
		return MessageID{}, false
	}
	charger, seq, ok := strings.Cut(rest, ".")
	if !ok {
		return MessageID{}, false
	}
	c, err := strconv.ParseUint(charger, 10, 31)
	if err != nil {
		return MessageID{}, false
	}
	n, err := strconv.ParseUint(seq, 10, 32)
	if err != nil {
		return MessageID{}, false
	}
	return MessageID{Run: run, Charger: int(c), Seq: uint32(n)}, true
}
