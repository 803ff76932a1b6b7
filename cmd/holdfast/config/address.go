package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// address is the value of one address:port to listen on.
type address struct{ to *string }

func (address) single() bool { return true }

// Set implements Value.
func (v address) Set(s string) error {
	*v.to = s
	return checkAddress(s)
}

// checkAddress returns why s is no address:port to listen on.
func checkAddress(s string) error {
	host, _, err := net.SplitHostPort(s)
	if err != nil {
		return errors.New("want address:port, such as 127.0.0.1:8887 or :8887")
	}
	if host != "" {
		if _, err := netip.ParseAddr(host); err != nil {
			return fmt.Errorf("%q is not an IP address", host)
		}
	}
	_, err = net.ResolveTCPAddr("tcp", s)
	return err
}
