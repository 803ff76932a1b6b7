package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Listener is one address for chargers, and how they are let in there.
type Listener struct {
	Address    string
	TLS        bool
	Auth       string         // none, file, processor
	ClientAuth string         // none, optional, required: certificates of chargers
	AllowFrom  []netip.Prefix // of chargers; nil: from anywhere
	Proxy      bool           // the header of the PROXY protocol comes first
}

var auths = []string{"none", "file", "processor"}

// ClientAuths are the values of ClientAuth.
var ClientAuths = []string{"none", "optional", "required"}

// Option returns the name of the option that the listener was set with.
func (l Listener) Option() string {
	if l.TLS {
		return "listen-tls"
	}
	return "listen"
}

// listeners is the value of -listen and -listen-tls: address:port, then
// name=value for what differs from the options auth, tls-client-auth and allow-from.
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
		case name == "allow-from": // several times, as the comma is taken
			network, err := parseNetwork(value)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			l.AllowFrom = append(l.AllowFrom, network)
			continue
		case name == "proxy-protocol":
			if value != "required" {
				return fmt.Errorf("%s: want required", name)
			}
			l.Proxy = true
			continue
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
