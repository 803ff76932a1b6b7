package config

import (
	"fmt"
	"net/netip"
	"strings"
)

// networks is the value of a list of addresses and networks.
type networks struct{ to *[]netip.Prefix }

func (networks) single() bool { return true }

// Set implements Value.
func (v networks) Set(s string) error {
	*v.to = nil
	for one := range strings.SplitSeq(s, ",") {
		p, err := parseNetwork(strings.TrimSpace(one))
		if err != nil {
			return err
		}
		*v.to = append(*v.to, p)
	}
	return nil
}

// parseNetwork parses a network, or an address as the network of it alone.
func parseNetwork(s string) (p netip.Prefix, err error) {
	if p, err = netip.ParsePrefix(s); err != nil {
		a, addrErr := netip.ParseAddr(s)
		if addrErr != nil {
			return p, fmt.Errorf("%q is no address, and no network such as 10.0.0.0/8 or 2001:db8::/32", s)
		}
		a = a.Unmap()
		p = netip.PrefixFrom(a, a.BitLen())
	}
	switch {
	case p.Addr().Is4In6():
		return p, fmt.Errorf("%s is IPv4 written as IPv6: write it as IPv4", s)
	case p != p.Masked():
		return p, fmt.Errorf("%s has bits behind its length: is it %s?", s, p.Masked())
	}
	return p, nil
}
