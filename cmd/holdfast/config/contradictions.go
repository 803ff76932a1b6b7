package config

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// contradictions returns the faults of values that are each valid.
func (c *Config) contradictions() (errs []error) {
	wrong := func(at, of place, format string, args ...any) {
		if at.isDefault() {
			at = of
		}
		errs = append(errs, &fault{at, fmt.Errorf(format, args...)})
	}
	fault := func(a, b, format string, args ...any) {
		of, by := c.places[a], c.places[b]
		if of != nil && by != nil { // else one is at fault by itself
			wrong(of[len(of)-1], by[len(by)-1], format, args...)
		}
	}
	if c.QueueBytes < c.MaxMessage {
		fault("queue-bytes", "max-message", "queue-bytes (%d) is less than max-message (%d): no such message could ever be queued", c.QueueBytes, c.MaxMessage)
	}
	if c.BufferBytes < c.QueueBytes*c.Loops {
		fault("buffer-bytes", "queue-bytes", "buffer-bytes (%d) is less than queue-bytes for each of %d loops (%d)", c.BufferBytes, c.Loops, c.QueueBytes*c.Loops)
	}
	if c.Keeper != "" && c.Loops > 1 {
		fault("keeper", "loops", "keeper needs loops 1, and loops is %d: orders between loops are not written down", c.Loops)
	}
	if c.CallTimeout > c.MaxCallTimeout {
		fault("call-timeout", "max-call-timeout", "call-timeout (%v) is longer than max-call-timeout (%v)", c.CallTimeout, c.MaxCallTimeout)
	}
	if c.DefaultSubprotocol != "" && !slices.Contains(c.Subprotocols, c.DefaultSubprotocol) {
		fault("default-subprotocol", "subprotocols", "default-subprotocol %q is not among subprotocols (%s)", c.DefaultSubprotocol, strings.Join(c.Subprotocols, ", "))
	}
	if c.IdleTimeout > 0 && c.PingInterval > 0 && c.IdleTimeout <= c.PingInterval {
		fault("idle-timeout", "ping-interval", "idle-timeout (%v) must be longer than ping-interval (%v): a silent charger would be closed before it is asked", c.IdleTimeout, c.PingInterval)
	}
	paths := map[string]string{} // by path, who has it
	for _, p := range [][2]string{{"processors", c.Processors}, {"admin-socket", c.Admin}, {"keeper", c.Keeper}, {"pid-file", c.PIDFile}} {
		name, path := p[0], filepath.Clean(p[1])
		optional := name == "pid-file" || name == "keeper" && p[1] == ""
		if n := len(p[1]); !optional && (n == 0 || n > maxSocketPath) {
			fault(name, name, "the path of a Unix socket has 1 to %d bytes", maxSocketPath)
		} else if other := paths[path]; other != "" && p[1] != "" {
			fault(name, other, "%s and %s are the same path %s", name, other, path)
		}
		paths[path] = name
	}
	seen := map[string]string{}
	c.listeners(func(l Listener, at place) {
		name := l.Option()
		// Port 0 is another port each time, but one of ws would become one of
		// wss in an upgrade: listeners are known by their address.
		if other := seen[l.Address]; other != "" && (other != name || !strings.HasSuffix(l.Address, ":0")) {
			wrong(at, at, "%s %s is given twice", name, l.Address)
		}
		seen[l.Address] = name
	})
	if other := seen[c.Metrics]; other != "" && !strings.HasSuffix(c.Metrics, ":0") {
		fault("admin", other, "admin and %s are the same address %s", other, c.Metrics)
	}
	c.admission(fault)
	authenticates := false
	c.listeners(func(l Listener, at place) {
		authenticates = authenticates || l.Auth != "none" || l.TLS && l.ClientAuth != "none"
		if l.Proxy && len(c.Trusted) == 0 {
			wrong(at, at, "%s %s: proxy-protocol needs the balancer's address in trusted: anybody else could claim any address", l.Option(), l.Address)
		}
		if l.Auth == "file" && c.AuthFile == "" {
			wrong(at, at, "%s %s: auth is file, but there is no auth-file", l.Option(), l.Address)
		}
		if l.TLS && l.ClientAuth != "none" && c.TLSClientCA == "" {
			wrong(at, at, "%s %s: client-auth is %s, but there is no tls-client-ca", l.Option(), l.Address, l.ClientAuth)
		}
		if l.TLS && l.ClientAuth != "none" && c.TLSClientIdentity == IdentityByProcessor && l.Auth != "processor" {
			wrong(at, at, "%s %s: tls-client-identity is processor, but auth is %s: nobody would compare, and any charger could connect as any other", l.Option(), l.Address, l.Auth)
		}
	})
	if c.SecurityProfiles != "" && !authenticates {
		fault("security-profiles", "auth", "security-profiles needs a listener that authenticates chargers (auth, tls-client-auth): nothing else raises a profile")
	}
	return errs
}

// listeners calls f for each listener, with its place.
func (c *Config) listeners(f func(Listener, place)) {
	for _, all := range [][]Listener{c.Listen, c.ListenTLS} {
		for n, l := range all {
			if places := c.places[l.Option()]; n < len(places) {
				f(l, places[n])
			}
		}
	}
}

// maxSocketPath is what fits a sockaddr_un, in bytes.
const maxSocketPath = 107

// admission reports contradictions in how chargers are let in.
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
}
