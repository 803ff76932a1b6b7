package bridge

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
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

// parseHead reads the head of a message. What may stand around its JSON (a byte-order
// mark, NULs, white space) counts for nothing; some firmware sends it.
func parseHead(b []byte) (h head) {
	var parts []json.RawMessage
	if json.Unmarshal(bare(b), &parts) != nil || len(parts) < 3 {
		return head{}
	}
	if json.Unmarshal(parts[0], &h.kind) != nil || h.kind < ocppCall || h.kind > ocppSend || json.Unmarshal(parts[1], &h.id) != nil {
		return head{}
	}
	if h.kind == ocppCall || h.kind == ocppSend {
		if len(parts) != 4 || json.Unmarshal(parts[2], &h.action) != nil || h.action == "" {
			return head{}
		}
	}
	return h
}

// bare is b without what may stand around its JSON.
func bare(b []byte) []byte {
	const blank = "\x00 \t\r\n"
	return bytes.Trim(bytes.TrimPrefix(bytes.TrimLeft(b, blank), []byte("\xef\xbb\xbf")), blank)
}

// withID is a message with another id.
func withID(message []byte, id string) []byte {
	var parts []json.RawMessage
	if json.Unmarshal(bare(message), &parts) != nil || len(parts) < 2 {
		return message
	}
	parts[1], _ = json.Marshal(id)
	b, _ := json.Marshal(parts)
	return b
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
