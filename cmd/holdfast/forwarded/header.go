package forwarded

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// The headers that a proxy may add its client to.
const (
	XForwardedFor = "X-Forwarded-For" // as many proxies do
	Forwarded     = "Forwarded"       // RFC 7239
)

// Client returns the client of a request that came from peer, which is trusted: of the
// addresses in the header of this name, the last one that is not trusted itself. Each
// proxy adds whom it was asked by, so what stands before that is the client's own claim.
// Without such an address it is peer.
func Client(header http.Header, name string, peer netip.AddrPort, trusted func(netip.Addr) bool) netip.AddrPort {
	var hops []string
	for _, line := range header[name] {
		hops = append(hops, strings.Split(line, ",")...)
	}
	for _, hop := range slices.Backward(hops) {
		if name == Forwarded {
			hop = parameter(hop, "for")
		}
		a, ok := parseNode(strings.TrimSpace(hop))
		if !ok {
			return peer // "unknown", or a name that a proxy has made up
		}
		if peer = a; !trusted(a.Addr()) {
			return a
		}
	}
	return peer
}

// parameter returns one of an element of Forwarded: for=192.0.2.60;proto=http;by=203.0.113.43
func parameter(element, name string) string {
	for pair := range strings.SplitSeq(element, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		if strings.EqualFold(key, name) {
			if n := len(value); n >= 2 && value[0] == '"' && value[n-1] == '"' {
				return value[1 : n-1]
			}
			return value
		}
	}
	return ""
}

// parseNode parses an address with or without a port: RFC 7239 section 6.
func parseNode(s string) (a netip.AddrPort, ok bool) {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		a = ap
	} else if ip, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		a = netip.AddrPortFrom(ip, 0)
	} else {
		return a, false
	}
	ip := a.Addr().Unmap().WithZone("")
	return netip.AddrPortFrom(ip, a.Port()), !ip.IsUnspecified()
}
