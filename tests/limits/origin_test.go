package limits

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"holdfast/tests/harness"
	"holdfast/tests/raw"
)

// from connects to address from 127.0.0.ip, writes what comes before TLS or the
// request, and does the handshake of identity. status is 0 if the connection ended
// without an answer.
func from(t *testing.T, address string, ip byte, before string, with *tls.Config, identity string, extra ...string) (nc net.Conn, status int) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, ip)}, Timeout: harness.Deadline}
	nc, err := d.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	// It may be refused at any step.
	_, _ = io.WriteString(nc, before)
	if with != nil {
		nc = tls.Client(nc, with)
	}
	_, _ = io.WriteString(nc, raw.Request(identity, extra...))
	resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err != nil {
		return nc, 0
	}
	return nc, resp.StatusCode
}

// saidOf waits for the line of a charger that was let in, or of a connection that was
// refused for a reason of this name, from a remote address.
func saidOf(t *testing.T, w *harness.World, msg, field, value, remote string) {
	t.Helper()
	_, err := w.WaitLog(t.Context(), fmt.Sprintf("%s %s=%s from %s", msg, field, value, remote), func(l harness.Line) bool {
		return l.Msg() == msg && l.String(field) == value && strings.HasPrefix(l.String("remote"), remote)
	})
	if err != nil {
		t.Error(err)
	}
}

const (
	proxy1 = "PROXY TCP4 192.0.2.7 198.51.100.1 40123 8887\r\n"
	proxy2 = "\r\n\r\n\x00\r\nQUIT\n\x21\x21\x00\x24\x20\x01\x0d\xb8\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x01\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x09\x9c\xbb\x22\xb7"
	local2 = "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
)

// Behind a balancer that speaks the PROXY protocol, over ws and wss, the charger's own
// address is in the log and in the list of chargers, also behind an upgrade, and is the
// one that allow-from knows. Nobody else may claim an address.
func TestPROXYProtocol(t *testing.T) {
	w := harness.New(t, "-trusted", "127.0.0.8/31,192.0.2.99",
		"-listen", "127.0.0.1:0,proxy-protocol=required", "-listen-tls", "127.0.0.2:0,proxy-protocol=required,allow-from=2001:db8::/32,allow-from=127.0.0.8")
	over := w.TLS.Client()
	over.ServerName = "127.0.0.2"
	for _, tt := range []struct {
		name, address string
		ip            byte
		before        string
		over          *tls.Config
		status        int
		remote        string // as it was opened, or refused
		refusal       string
	}{
		{"version 1", w.Addr, 8, proxy1, nil, 101, "192.0.2.7:40123", ""},
		{"version 2", w.Addr, 9, proxy2, nil, 101, "[2001:db8:0:7::1]:40123", ""},
		{"a health check", w.Addr, 9, local2, nil, 101, "127.0.0.9:", ""},
		{"version 2 over TLS", w.AddrTLS, 8, proxy2, over, 101, "[2001:db8:0:7::1]:40123", ""},
		{"the balancer itself over TLS", w.AddrTLS, 8, local2, over, 101, "127.0.0.8:", ""},
		{"not allowed over TLS", w.AddrTLS, 8, proxy1, over, 0, "192.0.2.7:40123", "not-allowed"},
		{"no header", w.Addr, 8, "", nil, 400, "127.0.0.8:", "proxy-header"},
		{"no header over TLS", w.AddrTLS, 8, "", over, 0, "127.0.0.8:", "proxy-header"},
		{"not trusted", w.Addr, 7, proxy1, nil, 403, "127.0.0.7:", "not-trusted"},
		{"not trusted over TLS", w.AddrTLS, 7, proxy1, over, 0, "127.0.0.7:", "not-trusted"},
	} {
		identity := "CP-" + strings.ReplaceAll(tt.name, " ", "-")
		_, status := from(t, tt.address, tt.ip, tt.before, tt.over, identity)
		if status != tt.status {
			t.Errorf("%s: %d, want %d", tt.name, status, tt.status)
		}
		if tt.refusal == "" {
			saidOf(t, w, "opened", "charger", identity, tt.remote)
		} else {
			saidOf(t, w, "refused", "name", tt.refusal, tt.remote)
		}
	}
	w.MustUpgrade()
	out, err := exec.Command(harness.Holdfast(), "list", "-admin-socket", w.AdminSocket(), "CP-version-1").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "192.0.2.7:40123") {
		t.Errorf("the list says, %v\n%s", err, out)
	}
	// A proxy behind the balancer is believed, too.
	if _, status := from(t, w.Addr, 8, strings.Replace(proxy1, "192.0.2.7", "192.0.2.99", 1), nil, "CP-chain", "X-Forwarded-For: 203.0.113.5"); status != 101 {
		t.Errorf("a proxy behind the balancer: %d", status)
	}
	saidOf(t, w, "opened", "charger", "CP-chain", "203.0.113.5:0")
}

// A header says where a charger comes from only if a trusted proxy adds it.
func TestTrustedHeader(t *testing.T) {
	for header, line := range map[string]string{
		"x-forwarded-for": "X-Forwarded-For: 203.0.113.66, 192.0.2.7",
		"forwarded":       `Forwarded: for=203.0.113.66, for="192.0.2.7:40123";proto=http`,
		"none":            "X-Forwarded-For: 192.0.2.7",
	} {
		w := harness.New(t, "-trusted", "127.0.0.8", "-trusted-header", header, "-allow-from", "127.0.0.0/8,192.0.2.0/24")
		for _, tt := range []struct {
			identity string
			ip       byte
			line     string
			status   int
			remote   string
		}{
			{"proxied", 8, line, 101, "192.0.2.7:"},
			{"itself", 8, "X-Other: x", 101, "127.0.0.8:"},
			{"claims", 9, line, 101, "127.0.0.9:"},
			{"not-allowed", 8, strings.ReplaceAll(line, "192.0.2.7", "198.51.100.7"), 403, "198.51.100.7:"},
		} {
			if header == "none" {
				tt.status, tt.remote = 101, fmt.Sprintf("127.0.0.%d:", tt.ip)
			}
			if _, status := from(t, w.Addr, tt.ip, "", nil, tt.identity, tt.line); status != tt.status {
				t.Errorf("%s, %s: %d, want %d", header, tt.identity, status, tt.status)
			}
			if tt.status == 101 {
				saidOf(t, w, "opened", "charger", tt.identity, tt.remote)
			} else {
				saidOf(t, w, "refused", "charger", tt.identity, tt.remote)
				saidOf(t, w, "refused", "path", "/ocpp/"+tt.identity, tt.remote)
			}
		}
	}
}

// Whoever comes from elsewhere than allow-from has is told so before it says anything.
func TestAllowFrom(t *testing.T) {
	w := harness.New(t, "-listen", "127.0.0.1:0,allow-from=127.0.0.8/31", "-allow-from", "127.0.0.7")
	over := w.TLS.Client()
	over.ServerName = "127.0.0.2"
	for _, tt := range []struct {
		address string
		over    *tls.Config
		ip      byte
		status  int
	}{{w.Addr, nil, 8, 101}, {w.Addr, nil, 9, 101}, {w.Addr, nil, 7, 403}, {w.AddrTLS, over, 7, 101}, {w.AddrTLS, over, 8, 0}} {
		if _, status := from(t, tt.address, tt.ip, "", tt.over, fmt.Sprint("CP-", tt.ip)); status != tt.status {
			t.Errorf("127.0.0.%d at %s: %d, want %d", tt.ip, tt.address, status, tt.status)
		}
	}
	saidOf(t, w, "refused", "name", "not-allowed", "127.0.0.7:")
}

// As many chargers are held from one address, or one IPv6 /64, as there may be, before
// and behind an upgrade; one that comes again takes its own place.
func TestConnectionsPerAddress(t *testing.T) {
	w := harness.New(t, "-trusted", "127.0.0.8", "-max-connections-per-address", "2", "-listen", "127.0.0.1:0,proxy-protocol=required")
	enter := func(host string, identity string, want int) net.Conn {
		t.Helper()
		family := "TCP4 " + host + " 198.51.100.1"
		if strings.Contains(host, ":") {
			family = "TCP6 " + host + " ::1"
		}
		nc, status := from(t, w.Addr, 8, "PROXY "+family+" 40123 8887\r\n", nil, identity)
		if status != want {
			t.Errorf("%s from %s: %d, want %d", identity, host, status, want)
		}
		return nc
	}
	enter("192.0.2.7", "CP-1", 101)
	second := enter("192.0.2.7", "CP-2", 101)
	enter("192.0.2.7", "CP-3", 429)
	enter("192.0.2.8", "CP-4", 101)
	enter("2001:db8::1", "CP-5", 101)
	enter("2001:db8::2:0:0:1", "CP-6", 101)
	enter("2001:db8::3:0:0:1", "CP-7", 429)
	enter("2001:db8:0:1::1", "CP-8", 101)
	saidOf(t, w, "refused", "name", "address-connections", "192.0.2.7:")
	for range 3 {
		enter("192.0.2.7", "CP-1", 101)
	}
	w.MustUpgrade()
	enter("192.0.2.7", "CP-3", 429)
	enter("192.0.2.7", "CP-1", 101)
	_ = second.Close()
	harness.Until(t, "room behind the end of a connection", func() bool {
		_, status := from(t, w.Addr, 8, "PROXY TCP4 192.0.2.7 198.51.100.1 40123 8887\r\n", nil, "CP-3")
		return status == 101
	})
	enter("192.0.2.7", "CP-9", 429)
	for i := range 5 { // a balancer's own are not counted
		if _, status := from(t, w.Addr, 8, local2, nil, fmt.Sprint("CP-own-", i)); status != 101 {
			t.Errorf("a balancer's own charger: %d", status)
		}
	}
}
