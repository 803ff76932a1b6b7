package upgrade

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"holdfast/tests/harness"
	"holdfast/tests/raw"
)

// Chargers on mobile networks pay for every packet: with pings the kernel sends no
// keep-alives of its own, and without pings it does. That holds for whoever comes after
// an upgrade, too, when the listener is an inherited one.
func TestKeepAlive(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		pings string
		want  bool
	}{{"60s", false}, {"0s", true}} {
		t.Run(tt.pings, func(t *testing.T) {
			t.Parallel()
			w := harness.New(t, "-ping-interval", tt.pings)
			for _, when := range []string{"before", "after"} {
				c, err := net.Dial("tcp", w.Addr)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if resp, _, err := raw.Handshake(c, when); err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
					t.Fatalf("%v, %v", resp, err)
				}
				if got := keepAlive(t, c); got != tt.want {
					t.Errorf("%s an upgrade, pings every %s: keep-alive is %v", when, tt.pings, got)
				}
				if when == "before" {
					if out, err := upgrade(t, w); err != nil {
						t.Fatalf("%v\n%s", err, out)
					}
				}
			}
		})
	}
}

// keepAlive says whether the other end of c has the kernel's keep-alive timer running.
func keepAlive(t *testing.T, c net.Conn) bool {
	t.Helper()
	port := func(a net.Addr) string { return fmt.Sprintf(":%04X", a.(*net.TCPAddr).Port) }
	found, running := false, false
	harness.Until(t, "the connection at the kernel's, with all acknowledged", func() bool {
		b, err := os.ReadFile("/proc/net/tcp")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			// sl local remote st tx:rx timer:when …; timer 1 is of a retransmission.
			f := strings.Fields(line)
			if len(f) > 5 && strings.HasSuffix(f[1], port(c.RemoteAddr())) && strings.HasSuffix(f[2], port(c.LocalAddr())) {
				found = !strings.HasPrefix(f[5], "01:")
				running = strings.HasPrefix(f[5], "02:")
			}
		}
		return found
	})
	return running
}
