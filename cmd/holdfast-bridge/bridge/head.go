package bridge

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"unicode/utf8"
)

// Types of OCPP-J messages (OCPP 1.6 JSON section 4.2; 5 and 6 are of OCPP 2.1).
const (
	ocppCall        = 2
	ocppResult      = 3
	ocppError       = 4
	ocppResultError = 5
	ocppSend        = 6
)

// head is what the bridge reads of a message. Everything else passes through as it is.
type head struct {
	kind   int // 0: no OCPP-J
	id     string
	action string // of CALL and SEND
}

// parseHead reads the head of a message, and no further: what follows may be anything, and
// costs nothing. What may stand before its JSON (a byte-order mark, NULs, white space)
// counts for nothing; some firmware sends it.
func parseHead(b []byte) (h head) {
	b, ok := past(bare(b), '[')
	if !ok || len(b) < 2 || b[0] < '0'+ocppCall || b[0] > '0'+ocppSend {
		return head{}
	}
	kind := int(b[0] - '0')
	if b, ok = past(b[1:], ','); !ok {
		return head{}
	}
	id, b, ok := text(b)
	if !ok {
		return head{}
	}
	if kind != ocppCall && kind != ocppSend {
		return head{kind: kind, id: id}
	}
	if b, ok = past(b, ','); !ok {
		return head{}
	}
	action, _, ok := text(b)
	if !ok || action == "" {
		return head{}
	}
	return head{kind, id, action}
}

// past returns what follows c and white space, which may stand before c, too.
func past(b []byte, c byte) (rest []byte, ok bool) {
	if b = space(b); len(b) == 0 || b[0] != c {
		return b, false
	}
	return space(b[1:]), true
}

func space(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t' || b[0] == '\n' || b[0] == '\r') {
		b = b[1:]
	}
	return b
}

// text reads a JSON string.
func text(b []byte) (s string, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != '"' {
		return "", b, false
	}
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			if quoted := b[:i+1]; bytes.IndexByte(quoted, '\\') < 0 {
				s, ok = string(quoted[1:i]), utf8.Valid(quoted)
			} else {
				ok = json.Unmarshal(quoted, &s) == nil
			}
			return s, b[i+1:], ok
		}
	}
	return "", b, false
}

// bare is b without what may stand around its JSON.
func bare(b []byte) []byte {
	const blank = "\x00 \t\r\n"
	return bytes.Trim(bytes.TrimPrefix(bytes.TrimLeft(b, blank), []byte("\xef\xbb\xbf")), blank)
}

// withID is a message with another id; false: it is no JSON array.
func withID(message []byte, id string) (b []byte, ok bool) {
	var parts []json.RawMessage
	if json.Unmarshal(bare(message), &parts) != nil || len(parts) < 2 {
		return nil, false
	}
	parts[1], _ = json.Marshal(id)
	b, _ = json.Marshal(parts)
	return b, true
}

// newID returns a message id that nobody else uses, of 32 characters; OCPP allows 36.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// callError returns a CALLERROR. The codes used here are in every version of OCPP.
func callError(id, code, description string) []byte {
	b, _ := json.Marshal([]any{ocppError, id, code, description, struct{}{}})
	return b
}

// callResult returns a CALLRESULT.
func callResult(id string, payload any) []byte {
	b, _ := json.Marshal([]any{ocppResult, id, payload})
	return b
}
