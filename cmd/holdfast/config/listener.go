package config

import (
	"fmt"
	"slices"
	"strings"
)

// Listener is one address for chargers, and how they are let in there.
type Listener struct {
	Address    string
	TLS        bool
	Auth       string // none, file, processor
	ClientAuth string // none, optional, required: certificates of chargers
}

var (
	auths       = []string{"none", "file", "processor"}
	ClientAuths = []string{"none", "optional", "required"}
)

func (l Listener) Option() string {
	if l.TLS {
		return "listen-tls"
	}
	return "listen"
}

// listeners is the value of -listen and -listen-tls: address:port, then
// name=value for what differs from the options auth and tls-client-auth.
type listeners struct {
	to  *[]Listener
	tls bool
}

func (v listeners) Set(s string) error {
	if s == "none" {
		return nil
	}
	address, rest, more := strings.Cut(s, ",")
	l := Listener{Address: address, TLS: v.tls}
	for more {
		var one string
		one, rest, more = strings.Cut(rest, ",")
		name, value, _ := strings.Cut(one, "=")
		to, from := &l.Auth, auths
		switch {
		case name == "auth":
		case name == "client-auth" && v.tls:
			to, from = &l.ClientAuth, ClientAuths
		default:
			return fmt.Errorf("%q cannot be set for one listener", name)
		}
		if !slices.Contains(from, value) {
			return fmt.Errorf("%s: want one of %s", name, strings.Join(from, ", "))
		}
		*to = value
	}
	*v.to = append(*v.to, l)
	return checkAddress(address)
}

// admission fills in what listeners did not set, and finds contradictions in
// how chargers are let in.
func (c *Config) admission(fault func(a, b, format string, args ...any)) {
	if len(c.Listen)+len(c.ListenTLS) == 0 {
		fault("listen", "listen", "listen is none, and there is no listen-tls: no charger could connect")
	}
	if len(c.ListenTLS) > 0 && len(c.TLSCerts) == 0 {
		fault("listen-tls", "listen-tls", "listen-tls needs a certificate: tls-cert and tls-key")
	}
	if len(c.TLSCerts) != len(c.TLSKeys) {
		a, b := "tls-cert", "tls-key"
		if len(c.TLSKeys) > len(c.TLSCerts) {
			a, b = b, a
		}
		fault(a, a, "each tls-cert has its tls-key, in the same order: there are %d of %s and %d of %s", max(len(c.TLSCerts), len(c.TLSKeys)), a, min(len(c.TLSCerts), len(c.TLSKeys)), b)
	}
	for _, all := range [][]Listener{c.Listen, c.ListenTLS} {
		for i := range all {
			l := &all[i]
			if l.Auth == "" {
				l.Auth = c.Auth
			}
			if l.ClientAuth == "" {
				l.ClientAuth = c.TLSClientAuth
			}
			if l.Auth == "file" && c.AuthFile == "" {
				fault(l.Option(), l.Option(), "%s %s: auth is file, but there is no auth-file", l.Option(), l.Address)
			}
			if l.TLS && l.ClientAuth != "none" && c.TLSClientCA == "" {
				fault(l.Option(), l.Option(), "%s %s: client-auth is %s, but there is no tls-client-ca", l.Option(), l.Address, l.ClientAuth)
			}
		}
	}
}
