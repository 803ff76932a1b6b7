package main

import (
	"fmt"
	"slices"
	"strings"
)

// listener is one address for chargers, and how they are let in there.
type listener struct {
	address    string
	tls        bool
	auth       string // none, file, processor
	clientAuth string // none, optional, required: certificates of chargers
}

var (
	auths       = []string{"none", "file", "processor"}
	clientAuths = []string{"none", "optional", "required"}
)

func (l listener) option() string {
	if l.tls {
		return "listen-tls"
	}
	return "listen"
}

// listeners is the value of -listen and -listen-tls: address:port, then
// name=value for what differs from the options auth and tls-client-auth.
type listeners struct {
	to  *[]listener
	tls bool
}

func (v listeners) set(s string) error {
	if s == "none" {
		return nil
	}
	address, rest, more := strings.Cut(s, ",")
	l := listener{address: address, tls: v.tls}
	for more {
		var one string
		one, rest, more = strings.Cut(rest, ",")
		name, value, _ := strings.Cut(one, "=")
		to, from := &l.auth, auths
		switch {
		case name == "auth":
		case name == "client-auth" && v.tls:
			to, from = &l.clientAuth, clientAuths
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
func (c *config) admission(fault func(a, b, format string, args ...any)) {
	if len(c.listen)+len(c.listenTLS) == 0 {
		fault("listen", "listen", "listen is none, and there is no listen-tls: no charger could connect")
	}
	if len(c.listenTLS) > 0 && len(c.tlsCerts) == 0 {
		fault("listen-tls", "listen-tls", "listen-tls needs a certificate: tls-cert and tls-key")
	}
	if len(c.tlsCerts) != len(c.tlsKeys) {
		a, b := "tls-cert", "tls-key"
		if len(c.tlsKeys) > len(c.tlsCerts) {
			a, b = b, a
		}
		fault(a, a, "each tls-cert has its tls-key, in the same order: there are %d of %s and %d of %s", max(len(c.tlsCerts), len(c.tlsKeys)), a, min(len(c.tlsCerts), len(c.tlsKeys)), b)
	}
	for _, all := range [][]listener{c.listen, c.listenTLS} {
		for i := range all {
			l := &all[i]
			if l.auth == "" {
				l.auth = c.auth
			}
			if l.clientAuth == "" {
				l.clientAuth = c.tlsClientAuth
			}
			if l.auth == "file" && c.authFile == "" {
				fault(l.option(), l.option(), "%s %s: auth is file, but there is no auth-file", l.option(), l.address)
			}
			if l.tls && l.clientAuth != "none" && c.tlsClientCA == "" {
				fault(l.option(), l.option(), "%s %s: client-auth is %s, but there is no tls-client-ca", l.option(), l.address, l.clientAuth)
			}
		}
	}
}
