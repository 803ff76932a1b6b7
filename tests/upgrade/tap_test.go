package upgrade

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"holdfast/proc"
	"holdfast/tests/harness"
	"holdfast/tests/raw"
	"holdfast/unixipc"
)

// operator is a client by the admin socket.
func operator(t *testing.T, w *harness.World) *proc.Client {
	t.Helper()
	c, err := proc.Dial(t.Context(), proc.ClientConfig{
		Name: "operator", Logger: slog.New(slog.DiscardHandler),
		Dial: func(ctx context.Context) (net.Conn, error) {
			nc, err := new(net.Dialer).DialContext(ctx, "unix", w.AdminSocket())
			if err != nil {
				return nil, err
			}
			_, err = io.WriteString(nc, "GET /link HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\nUpgrade: holdfast-link\r\n\r\n")
			if err == nil {
				var resp *http.Response
				resp, err = http.ReadResponse(bufio.NewReader(nc), nil) // nothing comes behind it before HELLO
				if err == nil && resp.StatusCode != http.StatusSwitchingProtocols {
					err = errors.New(resp.Status)
				}
			}
			if err != nil {
				_ = nc.Close()
			}
			return nc, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestTapAcrossUpgrades: an operator sees every message of a charger, in both
// directions and in order, while the gateway is replaced again and again.
func TestTapAcrossUpgrades(t *testing.T) {
	t.Parallel()
	s := setScene(t, harness.New(t))
	c := open(t, s.World, "c")
	s.p.ack(s.p.next(unixipc.Opened, "c"), "")
	op := operator(t, s.World)
	seen := make(chan string, 1<<16)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		done <- op.Tap(ctx, "c", func(m proc.Tapped) {
			switch {
			case m.Missed > 0 || m.LinkLost:
				seen <- fmt.Sprintf("%+v", m)
			case time.Since(m.Time).Abs() > time.Minute:
				seen <- fmt.Sprint("time ", m.Time)
			case m.ToCharger:
				seen <- "> " + string(m.Message)
			default:
				seen <- "< " + string(m.Message)
			}
		})
	}()
	// The tap is there as soon as it shows something.
	for first := false; !first; {
		s.works(c)
		select {
		case <-seen:
			first = true
		case <-time.After(10 * time.Millisecond):
		}
	}
	last := make(chan int)
	stop := make(chan struct{})
	go func() {
		n := 0
		defer func() { last <- n }()
		for {
			select {
			case <-stop:
				return
			default:
			}
			n++
			c.send(raw.Text(fmt.Sprint("message ", n)))
			s.p.ack(s.p.message("c", fmt.Sprint("message ", n)), fmt.Sprint("answer ", n))
			c.expect(raw.OpText, fmt.Sprint("answer ", n))
		}
	}()
	for range 3 {
		s.MustUpgrade()
	}
	close(stop)
	n := <-last
	expect := func(want string) {
		t.Helper()
		for {
			select {
			case got := <-seen:
				if got == "< still there?" || got == "> yes" {
					continue // from before
				}
				if got != want {
					t.Fatalf("seen: %q, want %q", got, want)
				}
			case <-time.After(harness.Deadline):
				t.Fatalf("%q is not seen", want)
			}
			return
		}
	}
	for i := 1; i <= n; i++ {
		expect(fmt.Sprint("< message ", i))
		expect(fmt.Sprint("> answer ", i))
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	t.Logf("%d messages and their answers seen", n)
}
