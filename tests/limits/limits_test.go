// Package limits has the gateway work at its limits: what is held stays held, and
// whoever is not let in hears so at once.
package limits

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/tests/harness"
	"holdfast/tests/raw"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// A charger is what became of a handshake.
type charger struct {
	net.Conn
	identity string
	in       *bufio.Reader
	status   int
	header   http.Header
}

// connect does a handshake as identity, and returns whatever the answer is.
func connect(t *testing.T, w *harness.World, identity string) *charger {
	t.Helper()
	nc, err := net.DialTimeout("tcp", w.Addr, harness.Deadline)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(3 * harness.Deadline)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(nc, raw.Request(identity)); err != nil {
		t.Fatal(err)
	}
	c := &charger{Conn: nc, identity: identity, in: bufio.NewReader(nc)}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		t.Fatalf("%s: %v", identity, err)
	}
	c.status, c.header = resp.StatusCode, resp.Header
	if c.status != http.StatusSwitchingProtocols {
		_ = nc.Close()
	}
	return c
}

// answered sends a Heartbeat and waits for the answer.
func (c *charger) answered(t *testing.T, id string) {
	t.Helper()
	if _, err := io.WriteString(c, raw.Masked(raw.Fin|raw.OpText, `[2,"`+id+`","Heartbeat",{}]`)); err != nil {
		t.Fatalf("%s: %v", c.identity, err)
	}
	for {
		op, payload, err := raw.Read(c.in)
		if err != nil {
			t.Fatalf("%s waits for the answer to %s: %v", c.identity, id, err)
		}
		if op == raw.OpText && strings.HasPrefix(payload, `[3,"`+id+`"`) {
			return
		}
	}
}

// At the limit of file descriptors a charger beyond it gets 503 and none is dropped,
// a processor comes back, an upgrade succeeds, an operator's command and a scrape work.
func TestFileLimit(t *testing.T) {
	script := filepath.Join(t.TempDir(), "limited")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nulimit -n 160\nexec "+harness.Holdfast()+" \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	w := harness.NewOf(t, harness.Setup{Binary: script, Args: []string{"-admin", "127.0.0.1:0"}})
	p := w.Processor("p")

	var held []*charger
	refused := 0
	for i := range 250 {
		c := connect(t, w, fmt.Sprintf("CP-%d", i))
		switch c.status {
		case http.StatusSwitchingProtocols:
			held = append(held, c)
		case http.StatusServiceUnavailable:
			refused++
			if c.header.Get("Retry-After") == "" {
				t.Fatal("503 without Retry-After")
			}
		default:
			t.Fatalf("%s: %d", c.identity, c.status)
		}
	}
	t.Logf("%d held, %d refused", len(held), refused)
	if len(held) < 40 || refused == 0 {
		t.Fatalf("%d held, %d refused", len(held), refused)
	}
	everybody := func(what string) {
		t.Helper()
		for _, c := range held {
			c.answered(t, what)
		}
	}
	everybody("at the limit")

	// Refused ones try again all the time, as chargers do.
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if nc, err := net.DialTimeout("tcp", w.Addr, harness.Deadline); err == nil {
				_ = nc.SetDeadline(time.Now().Add(harness.Deadline))
				_, _ = io.WriteString(nc, raw.Request(fmt.Sprintf("again-%d", i)))
				_, _ = io.ReadAll(io.LimitReader(nc, 12))
				_ = nc.Close()
			}
		}
	}()
	w.Kill(p)
	w.Processor("p")
	everybody("a new processor")
	held[0].Close()
	held[0] = held[1]
	c := connect(t, w, held[2].identity) // it takes its own place
	if c.status != http.StatusSwitchingProtocols {
		t.Fatalf("a charger that is held comes back, and gets %d", c.status)
	}
	held[2] = c
	ctx := t.Context()
	if out, err := w.Upgrade(ctx, harness.Holdfast()); err != nil {
		t.Fatalf("upgrade: %v\n%s", err, out)
	}
	everybody("upgraded")
	if out, err := exec.CommandContext(ctx, harness.Holdfast(), "status", "-admin-socket", w.AdminSocket()).CombinedOutput(); err != nil {
		t.Fatalf("status: %v\n%s", err, out)
	}
	text := scrape(t, w)
	for _, want := range []string{"process_max_fds 160", "process_open_fds ", "holdfast_file_limit_refusals_total "} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("/metrics has no %q", want)
		}
	}
	close(stop)
	<-stopped
	n := 0
	for line := range strings.Lines(w.Log.Tail(1 << 20)) {
		if strings.Contains(line, "file descriptors run out") || strings.Contains(line, "cannot accept") {
			n++
		}
	}
	if n == 0 || n > 4 {
		t.Errorf("%d lines about the shortage", n)
	}

	// Room again: whoever comes is let in.
	for _, c := range held[3:10] {
		_ = c.Close()
	}
	harness.Until(t, "a charger to be let in", func() bool {
		c := connect(t, w, "CP-new")
		return c.status == http.StatusSwitchingProtocols
	})
}

// scrape returns /metrics.
func scrape(t *testing.T, w *harness.World) string {
	t.Helper()
	l := w.Logged(w.Process, `"msg":"metrics"`)
	resp, err := http.Get("http://" + l.String("addr") + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Strangers under fresh identities leave no more than max-offline; who is known gets
// in, and a processor makes room.
func TestMaxOffline(t *testing.T) {
	w := harness.New(t, "-max-offline", "20", "-loops", "2")
	leave := func(identity string) int {
		c := connect(t, w, identity)
		if c.status == http.StatusSwitchingProtocols {
			_, _ = io.WriteString(c, raw.Masked(raw.Fin|raw.OpText, `[2,"1","Heartbeat",{}]`)+raw.Masked(raw.Fin|raw.OpClose, ""))
			_, _ = io.ReadAll(c.in)
		}
		return c.status
	}
	refused := 0
	for i := range 40 {
		if leave(fmt.Sprintf("CP-%d", i)) == http.StatusServiceUnavailable {
			refused++
		}
	}
	if refused != 20 {
		t.Errorf("%d of 40 were refused; 20 may leave something", refused)
	}
	if status := leave("CP-0"); status != http.StatusSwitchingProtocols {
		t.Errorf("a charger that is known gets %d", status)
	}
	w.Processor("p")
	harness.Until(t, "a stranger to be let in", func() bool { return leave("CP-new") == http.StatusSwitchingProtocols })
}

// A reload goes by the limit of file descriptors that the running process has by then:
// prlimit(1) changes it without a restart.
func TestFileLimitOfAReload(t *testing.T) {
	w := harness.New(t)
	pid, err := w.CurrentPid()
	if err != nil {
		t.Fatal(err)
	}
	const limit = 1234 // lower: to raise it takes a privilege that a test may lack
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit, Max: limit}, nil); err != nil {
		t.Fatal(err)
	}
	w.MustUpgrade()
	harness.Until(t, "the new process to name its limit", func() bool {
		for _, l := range w.Log.Lines() {
			if l.Msg() == "file limit is too low for max-connections" && l.Fields["limit"] == float64(limit) {
				return true
			}
		}
		return false
	})
}
