package conn

import (
	"errors"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxIdentity is the longest identity of a charger, in bytes.
const MaxIdentity = 255

// errPath means that a request's path is under none of the prefixes.
var errPath = errors.New("no such path")

// splitTarget finds the prefix and the identity in the target of a request, as
// it stands in the request line. Prefixes begin and end with a slash. An error
// other than errPath is about the identity.
func splitTarget(target string, prefixes []string, lenient Tolerances) (prefix, identity string, err error) {
	// RFC 9112 section 3.2.2: a server accepts the absolute form.
	if i := strings.Index(target, "://"); i > 0 && !strings.HasPrefix(target, "/") {
		target = target[i+3:]
		if i = strings.IndexByte(target, '/'); i < 0 {
			return "", "", errPath
		}
		target = target[i:]
	}
	target, _, _ = strings.Cut(target, "?")
	for lenient.Has(TolerateSlashes) && strings.Contains(target, "//") {
		target = strings.ReplaceAll(target, "//", "/")
	}
	for _, p := range prefixes {
		if len(p) > len(prefix) && strings.HasPrefix(target, p) {
			prefix = p
		}
	}
	if prefix == "" {
		return "", "", errPath
	}
	segment := strings.TrimSuffix(target[len(prefix):], "/")
	if first, again, more := strings.Cut(segment, "/"); more {
		if first != again || !lenient.Has(TolerateIdentityTwice) {
			return "", "", errPath
		}
		segment = first
	}
	if identity, err = url.PathUnescape(segment); err != nil {
		return "", "", errors.New("identity is not percent-encoded correctly")
	}
	return prefix, strings.Clone(identity), CheckIdentity(identity) // keep nothing of the request
}

// CheckIdentity returns an error if s cannot be the identity of a charger.
func CheckIdentity(s string) error {
	switch {
	case s == "":
		return errors.New("identity is missing from the path")
	case len(s) > MaxIdentity:
		return errors.New("identity is longer than 255 bytes")
	case !utf8.ValidString(s):
		return errors.New("identity is not UTF-8")
	}
	for _, r := range s {
		if r == '/' || !unicode.IsPrint(r) {
			return errors.New("identity has a slash or a character that cannot be printed")
		}
	}
	return nil
}
