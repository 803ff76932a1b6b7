package main

import "encoding/json"

// code is what is wrong with a message, as the two generations of OCPP spell
// it: OCPP-J 1.6 section 4.2.3, and OCPP-J 2.0.1 and 2.1 section 4.3.
type code struct{ v16, v2 string }

var (
	// The message is no OCPP-J message, so what it asks cannot be known.
	notRPC = code{"FormationViolation", "RpcFrameworkError"}
	// 1.6 section 4.1.3 has such messages ignored, and no code for them.
	unknownType = code{"", "MessageTypeNotSupported"}

	unknownAction = code{"NotImplemented", "NotImplemented"}
	unsupported   = code{"NotSupported", "NotSupported"}

	// The payload, from its syntax to its values. 1.6 calls an incomplete one a
	// ProtocolError; in 2.x that is one with another structure altogether.
	brokenPayload = code{"FormationViolation", "FormatViolation"}
	notObject     = code{"FormationViolation", "ProtocolError"}
	missing       = code{"ProtocolError", "OccurrenceConstraintViolation"}
	tooFew        = code{"OccurenceConstraintViolation", "OccurrenceConstraintViolation"} // one r in 1.6
	wrongType     = code{"TypeConstraintViolation", "TypeConstraintViolation"}
	wrongValue    = code{"PropertyConstraintViolation", "PropertyConstraintViolation"}
)

func (c code) in(v version) string {
	if v >= v201 {
		return c.v2
	}
	return c.v16
}

// fault is the reason to answer a message with CALLERROR.
type fault struct {
	code code
	why  string // for the reader of the charger's log
}

// unread is the message id of a CALLERROR when that of the message cannot be
// read (OCPP-J 2.0.1 section 4.2.3; 1.6 leaves it open).
var unread = json.RawMessage(`"-1"`)

// maxWhy bounds errorDescription, in characters (OCPP-J, CALLERROR).
const maxWhy = 255

// reply is the CALLERROR of a fault, nil where the version has none.
func (f *fault) reply(v version, id json.RawMessage) []byte {
	code := f.code.in(v)
	if code == "" {
		return nil
	}
	if id == nil {
		id = unread
	}
	why := []rune(f.why)
	return array(typeCallError, id, code, string(why[:min(len(why), maxWhy)]), object{})
}
