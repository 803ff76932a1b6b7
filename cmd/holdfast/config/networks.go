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
		one = strings.TrimSpace(one)
		p, err := netip.ParsePrefix(one)
		if err != nil {
			a, addrErr := netip.ParseAddr(one)
			if addrErr != nil {
				return fmt.Errorf("%q is no address, and no network such as 10.0.0.0/8 or 2001:db8::/32", one)
			}
			a = a.Unmap()
			p = netip.PrefixFrom(a, a.BitLen())
		}
		if p.Addr().Is4In6() {
			return fmt.Errorf("%s is IPv4 written as IPv6: write it as IPv4", one)
		}
		if p != p.Masked() {
			return fmt.Errorf("%s has bits behind its length: is it %s?", one, p.Masked())
		}
		*v.to = append(*v.to, p)
	}
	return nil
}
