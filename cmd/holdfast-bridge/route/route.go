// Package route says which central system a charger belongs to. It reads the values of
// the options -route and -mirror, and knows nothing of connections.
package route

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"
)

// placeholder stands in a URL for the charger's identity.
const placeholder = "{identity}"

// A Pattern selects chargers.
type Pattern struct {
	Glob         string   // over identities, in the syntax of path.Match; * alone is all
	Subprotocols []string // empty: all
}

// Matches reports whether p selects the charger.
func (p Pattern) Matches(identity, subprotocol string) bool {
	if len(p.Subprotocols) > 0 && !slices.Contains(p.Subprotocols, subprotocol) {
		return false
	}
	ok, _ := path.Match(p.Glob, identity)
	return ok || p.Glob == "*"
}

// A Route sends chargers to a central system.
type Route struct {
	Pattern
	URL string // with the placeholder
}

// Address returns the URL for one charger. The identity is percent-encoded as its place,
// path or query, needs it.
func (r Route) Address(identity string) string {
	before, query, has := strings.Cut(r.URL, "?")
	address := strings.ReplaceAll(before, placeholder, url.PathEscape(identity))
	if has {
		address += "?" + strings.ReplaceAll(query, placeholder, url.QueryEscape(identity))
	}
	return address
}

// Parse reads "GLOB[,subprotocol=NAME[|NAME…]] URL".
func Parse(value string) (r Route, err error) {
	pattern, rest, ok := strings.Cut(strings.TrimSpace(value), " ")
	if !ok {
		return r, fmt.Errorf("%q: must be GLOB[,subprotocol=…] URL", value)
	}
	if r.Pattern, err = parsePattern(pattern); err != nil {
		return r, err
	}
	r.URL = strings.TrimSpace(rest)
	return r, checkURL(r.URL)
}

func parsePattern(text string) (p Pattern, err error) {
	parts := strings.Split(text, ",")
	p.Glob = parts[0]
	if _, err := path.Match(p.Glob, ""); err != nil || p.Glob == "" {
		return p, fmt.Errorf("%q is no glob (*, ?, [a-z], and \\ before one of these)", p.Glob)
	}
	for _, part := range parts[1:] {
		name, value, _ := strings.Cut(part, "=")
		if name != "subprotocol" || value == "" {
			return p, fmt.Errorf("%q: behind the glob may come ,subprotocol=NAME", part)
		}
		p.Subprotocols = append(p.Subprotocols, strings.Split(value, "|")...)
	}
	return p, nil
}

func checkURL(text string) error {
	// The placeholder is no URL: braces are not allowed there.
	u, err := url.Parse(strings.ReplaceAll(text, placeholder, "identity"))
	switch {
	case err != nil:
		return fmt.Errorf("URL %q: %w", text, errors.Unwrap(err))
	case u.Scheme != "ws" && u.Scheme != "wss":
		return fmt.Errorf("URL %q: must begin with ws:// or wss://", text)
	case u.Host == "":
		return fmt.Errorf("URL %q: without a host", text)
	case u.User != nil:
		return fmt.Errorf("URL %q: has a password, which logs would show; use upstream-auth", u.Redacted())
	case u.Fragment != "" || strings.ContainsAny(text, " \t"):
		return fmt.Errorf("URL %q: has a fragment or white space", text)
	case !strings.Contains(text, placeholder):
		return fmt.Errorf("URL %q: does not say where the charger's identity goes, such as %s/%s", text, strings.TrimSuffix(text, "/"), placeholder)
	case strings.Contains(hostOf(text), placeholder):
		return fmt.Errorf("URL %q: %s may be in the path and the query only", text, placeholder)
	}
	return nil
}

func hostOf(text string) string {
	_, rest, _ := strings.Cut(text, "://")
	host, _, _ := strings.Cut(rest, "/")
	return host
}
