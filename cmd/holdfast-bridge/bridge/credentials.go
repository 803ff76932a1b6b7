package bridge

import (
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
)

// The note that the bridge leaves with a charger's connection: what the bridge that
// comes next needs to connect as the charger.
type note struct {
	Version       int    `json:"v"`
	Authorization string `json:"authorization,omitempty"` // the header's value
}

// noteVersion is that of what is written. A note that another program has left, or a
// later version, is none.
const noteVersion = 1

func (n note) encode() []byte {
	n.Version = noteVersion
	b, _ := json.Marshal(n)
	return b
}

func parseNote(b []byte) (n note, ok bool) {
	if json.Unmarshal(b, &n) != nil || n.Version != noteVersion {
		return note{}, false
	}
	return n, true
}

// basic is the value of an Authorization header (RFC 7617).
func basic(username, password []byte) string {
	both := append(append(append([]byte(nil), username...), ':'), password...)
	return "Basic " + base64.StdEncoding.EncodeToString(both)
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
