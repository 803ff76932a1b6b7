package main

import (
	"bytes"
	"crypto/subtle"
	"fmt"
	"os"
	"strconv"
	"strings"

	"holdfast/unixipc"
)

// passwords of the chargers that may connect, by identity. A real back end has
// them hashed in its database.
type passwords map[string][]byte

func readPasswords(path string) (passwords, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	p := passwords{}
	for i, line := range bytes.Split(b, []byte("\n")) {
		if line = bytes.TrimRight(line, "\r"); len(line) == 0 || line[0] == '#' {
			continue
		}
		identity, password, ok := cutIdentity(string(line))
		if !ok || identity == "" || password == "" {
			return nil, fmt.Errorf("%s:%d: want an identity, a space and a password; an identity with a space stands in quotes", path, i+1)
		}
		if _, twice := p[identity]; twice {
			return nil, fmt.Errorf("%s:%d: %s stands there twice", path, i+1, identity)
		}
		p[identity] = []byte(password)
	}
	return p, nil
}

// cutIdentity splits a line behind its identity. OCPP's own example of one is RDAM 123,
// so it may stand in quotes, as Go writes them. The password is the rest, as it is.
func cutIdentity(line string) (identity, password string, ok bool) {
	quoted, err := strconv.QuotedPrefix(line)
	if err != nil {
		return strings.Cut(line, " ")
	}
	if identity, err = strconv.Unquote(quoted); err != nil {
		return "", "", false
	}
	password, ok = strings.CutPrefix(line[len(quoted):], " ")
	return identity, password, ok
}

// same compares in constant time. Some firmware sends the end of its line or of its
// string behind the password.
func same(sent, password []byte) bool {
	trimmed := bytes.TrimRight(sent, "\r\n\x00")
	return subtle.ConstantTimeCompare(sent, password)|subtle.ConstantTimeCompare(trimmed, password) == 1
}

// verdict says whether a charger may connect: with its password, or with a
// certificate, which the gateway has verified.
func (p passwords) verdict(a unixipc.AuthorizeBody) unixipc.VerdictBody {
	password, known := p[a.Identity]
	switch {
	case !known:
		return unixipc.VerdictBody{Status: 401, Reason: "wrong password"} // a stranger does not learn who is known
	case a.Basic == nil && a.Certificate != nil:
		return unixipc.VerdictBody{Accept: true}
	case a.Basic == nil:
		return unixipc.VerdictBody{Status: 401, Reason: "a password is needed"}
	case string(a.Basic.Username) != a.Identity:
		return unixipc.VerdictBody{Status: 401, Reason: "the user name is not the identity"}
	case !same(a.Basic.Password, password):
		return unixipc.VerdictBody{Status: 401, Reason: "wrong password"}
	}
	return unixipc.VerdictBody{Accept: true}
}
