package config

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// contradictions returns the faults of values that are each valid. places has the
// place of each valid one.
func (c *Config) contradictions(places map[string]string) (errs []error) {
	fault := func(a, b, format string, args ...any) {
		at, of := places[a], places[b]
		if at == "" || of == "" {
			return // one is at fault by itself
		}
		if strings.HasPrefix(at, defaultOf) {
			at = of
		}
		errs = append(errs, fmt.Errorf("%s: %w", at, fmt.Errorf(format, args...)))
	}
	if c.QueueBytes < c.MaxMessage {
		fault("queue-bytes", "max-message", "queue-bytes (%d) is less than max-message (%d): no such message could ever be queued", c.QueueBytes, c.MaxMessage)
	}
	if c.BufferBytes < c.QueueBytes*c.Loops {
		fault("buffer-bytes", "queue-bytes", "buffer-bytes (%d) is less than queue-bytes for each of %d loops (%d)", c.BufferBytes, c.Loops, c.QueueBytes*c.Loops)
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
	for _, p := range [][2]string{{"processors", c.Processors}, {"admin-socket", c.Admin}, {"pid-file", c.PIDFile}} {
		name, path := p[0], filepath.Clean(p[1])
		if n := len(p[1]); name != "pid-file" && (n == 0 || n > maxSocketPath) {
			fault(name, name, "the path of a Unix socket has 1 to %d bytes", maxSocketPath)
		} else if other := paths[path]; other != "" && p[1] != "" {
			fault(name, other, "%s and %s are the same path %s", name, other, path)
		}
		paths[path] = name
	}
	seen := map[string]string{}
	for _, l := range slices.Concat(c.Listen, c.ListenTLS) {
		name := l.Option()
		// Port 0 is another port each time, but one of ws would become one of
		// wss in an upgrade: listeners are known by their address.
		if other := seen[l.Address]; other != "" && (other != name || !strings.HasSuffix(l.Address, ":0")) {
			fault(name, other, "%s %s is given twice", name, l.Address)
		}
		seen[l.Address] = name
	}
	if other := seen[c.Metrics]; other != "" && !strings.HasSuffix(c.Metrics, ":0") {
		fault("admin", other, "admin and %s are the same address %s", other, c.Metrics)
	}
	c.admission(fault)
	return errs
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
	for _, l := range slices.Concat(c.Listen, c.ListenTLS) {
		if l.Proxy && len(c.Trusted) == 0 {
			fault(l.Option(), l.Option(), "%s %s: proxy-protocol needs the balancer's address in trusted: anybody else could claim any address", l.Option(), l.Address)
		}
		if l.Auth == "file" && c.AuthFile == "" {
			fault(l.Option(), l.Option(), "%s %s: auth is file, but there is no auth-file", l.Option(), l.Address)
		}
		if l.TLS && l.ClientAuth != "none" && c.TLSClientCA == "" {
			fault(l.Option(), l.Option(), "%s %s: client-auth is %s, but there is no tls-client-ca", l.Option(), l.Address, l.ClientAuth)
		}
	}
}
