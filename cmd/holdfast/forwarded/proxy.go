package forwarded

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
)

// The PROXY protocol, versions 1 and 2: https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt
//
//	v1   "PROXY TCP4 192.0.2.1 198.51.100.1 40123 8887\r\n"; TCP6; or UNKNOWN and anything
//	v2   signature (12), version and command (1), family and transport (1),
//	     length of the rest (2), addresses, TLVs

var signature = []byte("\r\n\r\n\x00\r\nQUIT\n")

const (
	maxLine    = 107 // bytes of a v1 header: section 2.1
	maxHeader2 = 4 << 10
)

// ErrHeader is what an error of ReadPROXY matches unless reading itself failed.
var ErrHeader = errors.New("no PROXY header")

func fault(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrHeader, fmt.Sprintf(format, args...))
}

// ReadPROXY reads the header, of either version, and not a byte more. from is the
// client; it is not valid if the header names none, as those of health checks.
func ReadPROXY(r io.Reader) (from netip.AddrPort, err error) {
	start := make([]byte, len(signature))
	for n := range start {
		if _, err := io.ReadFull(r, start[n:n+1]); err != nil {
			return from, fmt.Errorf("PROXY header: %w", err)
		}
		if got := start[:n+1]; !bytes.HasPrefix(signature, got) && !strings.HasPrefix(line1, string(got[:min(len(got), len(line1))])) {
			return from, fault("what comes is %q", got) // told at once: no more may come
		}
	}
	if bytes.Equal(start, signature) {
		return readVersion2(r)
	}
	return readVersion1(r, start)
}

const line1 = "PROXY "

// readVersion1 reads byte by byte: what follows the line is not ours.
func readVersion1(r io.Reader, line []byte) (from netip.AddrPort, err error) {
	for line[len(line)-1] != '\n' {
		if len(line) == maxLine {
			return from, fault("its line has no end within %d bytes", maxLine)
		}
		line = append(line, 0)
		if _, err := io.ReadFull(r, line[len(line)-1:]); err != nil {
			return from, fmt.Errorf("PROXY header: %w", err)
		}
	}
	text, ended := strings.CutSuffix(string(line), "\r\n")
	words := strings.Split(text, " ")
	switch {
	case !ended:
		return from, fault("its line ends without CR")
	case words[1] == "UNKNOWN":
		return from, nil
	case len(words) != 6 || words[1] != "TCP4" && words[1] != "TCP6":
		return from, fault("%q", text)
	}
	var ends [2]netip.AddrPort // the client, and what it connected to
	for i := range ends {
		a, err := netip.ParseAddr(words[2+i])
		port, ok := parsePort(words[4+i])
		if err != nil || !ok || a.Zone() != "" || a.Is4() != (words[1] == "TCP4") {
			return from, fault("%q", text)
		}
		ends[i] = netip.AddrPortFrom(a, port)
	}
	return known(ends[0])
}

// parsePort parses a port as version 1 spells it: decimal, without leading zeros.
func parsePort(s string) (port uint16, ok bool) {
	n := 0
	for _, c := range []byte(s) {
		if n = 10*n + int(c-'0'); c < '0' || c > '9' || n > 65535 {
			return 0, false
		}
	}
	return uint16(n), s != "" && (s == "0" || s[0] != '0')
}

func readVersion2(r io.Reader) (from netip.AddrPort, err error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return from, fmt.Errorf("PROXY header: %w", err)
	}
	version, command, family := head[0]>>4, head[0]&15, head[1]
	length := int(binary.BigEndian.Uint16(head[2:]))
	switch {
	case version != 2 || command > 1:
		return from, fault("version and command 0x%02x", head[0])
	case length > maxHeader2:
		return from, fault("it has %d bytes, more than %d", length, maxHeader2)
	}
	rest := make([]byte, length)
	if _, err := io.ReadFull(r, rest); err != nil {
		return from, fmt.Errorf("PROXY header: %w", err)
	}
	size := map[byte]int{0x11: 4, 0x21: 16}[family] // of an address: TCP over IPv4, and over IPv6
	switch {
	case command == 0: // LOCAL: the proxy speaks for itself
		return from, nil
	case size == 0:
		return from, nil // UNSPEC and what else there is: accepted, and no address taken from it
	case length < 2*size+4:
		return from, fault("%d bytes for two addresses of %d", length, size)
	}
	a, _ := netip.AddrFromSlice(rest[:size])
	return known(netip.AddrPortFrom(a, binary.BigEndian.Uint16(rest[2*size:])))
}

// known is a, which must be the address of somebody.
func known(a netip.AddrPort) (netip.AddrPort, error) {
	if a.Addr().IsUnspecified() {
		return netip.AddrPort{}, fault("the client's address is %s", a.Addr())
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), nil
}
