package limits

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/tests/harness"
	"holdfast/tests/raw"
)

// Thousands of sockets from one address that say nothing, opened again whenever one ends,
// keep no charger of another address waiting, not even for one handshake-timeout.
func TestIdleSocketsOfOneAddress(t *testing.T) {
	const idle = 3000
	w := harness.New(t, "-handshake-timeout", "5m")
	addresses := []string{w.Addr}
	if w.TLS != nil {
		addresses = append(addresses, w.AddrTLS)
	}
	var open, turnedAway atomic.Int64
	stop := make(chan struct{})
	var all sync.WaitGroup
	defer all.Wait()
	defer close(stop)
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}, Timeout: harness.Deadline}
	for i := range idle {
		all.Go(func() {
			for {
				nc, err := dialer.Dial("tcp", addresses[i%len(addresses)])
				if err == nil {
					open.Add(1)
					ended := make(chan struct{})
					go func() {
						_, _ = io.Copy(io.Discard, nc)
						close(ended)
					}()
					select {
					case <-ended:
						turnedAway.Add(1)
					case <-stop:
					}
					_ = nc.Close()
					<-ended
				}
				select {
				case <-stop:
					return
				case <-time.After(500 * time.Millisecond):
				}
			}
		})
	}
	harness.Until(t, "all sockets to be open", func() bool { return open.Load() >= idle })
	began := time.Now()
	c := connect(t, w, "CP-1")
	t.Logf("a charger of another address was let in after %v; %d sockets had been turned away", time.Since(began), turnedAway.Load())
	if c.status != http.StatusSwitchingProtocols {
		t.Errorf("a charger of another address got %d", c.status)
	}
	if turnedAway.Load() == 0 {
		t.Error("nobody was turned away")
	}
	_, err := w.WaitLog(t.Context(), "the address", func(l harness.Line) bool {
		return strings.HasPrefix(l.Msg(), "too many handshakes from one address") && strings.HasPrefix(l.String("remote"), "127.0.0.9:")
	})
	if err != nil {
		t.Error(err)
	}
}

// An address that is trusted has no limit of its own; another is told, and counted.
func TestTrustedAddress(t *testing.T) {
	w := harness.New(t, "-max-handshakes-per-address", "2", "-trusted", "127.0.0.8/31")
	hold := func(ip byte) net.Conn {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, ip)}, Timeout: harness.Deadline}
		nc, err := d.Dial("tcp", w.Addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = nc.Close() })
		return nc
	}
	for range 5 {
		hold(9)
	}
	hold(10)
	hold(10)
	answer, err := io.ReadAll(hold(10))
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 429 ") {
		t.Errorf("the third of one address got %q, %v", answer, err)
	}
	if c := connect(t, w, "CP-1"); c.status != http.StatusSwitchingProtocols {
		t.Error(fmt.Sprint("a charger got ", c.status))
	}
}

// Who is not let in uses up neither tokens nor places, also while the answer to a wrong
// password is kept waiting.
func TestTokensAreForThoseLetIn(t *testing.T) {
	file := filepath.Join(t.TempDir(), "chargers")
	add := exec.Command(harness.Holdfast(), "passwd", "-file", file, "CP-1")
	add.Stdin = strings.NewReader("secret\n")
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	w := harness.New(t, "-auth", "file", "-auth-file", file, "-max-handshakes-per-second", "1", "-max-connections", "1")
	basic := func(password string) string {
		return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("CP-1:"+password))
	}
	ask := func(request string) (wait func() string) {
		nc, err := net.DialTimeout("tcp", w.Addr, harness.Deadline)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = nc.Close() })
		if _, err := io.WriteString(nc, request); err != nil {
			t.Fatal(err)
		}
		return func() string {
			line, err := bufio.NewReader(nc).ReadString('\n')
			if err != nil {
				t.Error(err)
			}
			return line
		}
	}
	for range 20 {
		if got := ask(strings.Replace(raw.Request("CP-1"), "/ocpp/", "/other/", 1))(); !strings.Contains(got, " 404 ") {
			t.Fatalf("another path: %s", got)
		}
	}
	for range 20 {
		ask(raw.Request("CP-1", basic("guess"))) // all but the first of them wait, for up to 3 s
	}
	// One of them may have the token at this very moment, but not for long.
	var got string
	for range 20 {
		if got = ask(raw.Request("CP-1", basic("secret")))(); strings.Contains(got, " 101 ") {
			return
		}
	}
	t.Errorf("the right password got %s", got)
}
