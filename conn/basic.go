package conn

import (
	"bytes"
	"encoding/base64"
	"net/url"
	"strings"
)

// basic reads the credentials of a request: RFC 7617, as chargers write it. The
// identity is known from the path already, so a user name with colons, such as a MAC
// address, is told from the password, which RFC 7617 could not.
//
// It also takes what chargers get wrong and what cannot be misread: a colon or a tab
// behind the scheme (`Basic: …`, ShellRechargeSolutionsEU/ocpp#38), the same header
// twice, and a user name that is percent-encoded as in the path.
func (r *Request) basic(headers []string) {
	value, ok := sameBasic(headers)
	if !ok {
		return
	}
	b, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		return
	}
	name, password, ok := cutUser(b, r.Identity)
	if ok {
		r.HasBasic, r.Username, r.Password = true, name, password
	}
}

// sameBasic returns what follows the scheme Basic, which must be the same in all
// headers.
func sameBasic(headers []string) (value string, ok bool) {
	for i, h := range headers {
		end := strings.IndexAny(h, " \t:")
		if end < 0 || !strings.EqualFold(h[:end], "basic") {
			return "", false
		}
		v := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(h[end:]), ":"))
		if i > 0 && v != value {
			return "", false
		}
		value = v
	}
	return value, len(headers) > 0
}

// cutUser splits user:password at the colon behind the identity. If the user is
// another one, the first colon counts.
func cutUser(b []byte, identity string) (user string, password []byte, ok bool) {
	if rest, found := bytes.CutPrefix(b, []byte(identity+":")); found {
		return identity, rest, true
	}
	for i, c := range b[:min(len(b), 3*MaxIdentity+1)] {
		if c != ':' {
			continue
		}
		if u, err := url.PathUnescape(string(b[:i])); err == nil && u == identity {
			return identity, b[i+1:], true
		}
	}
	name, password, ok := bytes.Cut(b, []byte(":"))
	return string(name), password, ok
}
