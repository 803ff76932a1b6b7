package tlsclients

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"sync"
	"syscall"
	"testing"

	"holdfast/tests/harness"
)

// page opens a WebSocket, asks again and again, and reports what it sees to where it
// came from.
const page = `<!doctype html><script>
const report = (what) => fetch("/report", {method: "POST", body: what});
const ws = new WebSocket(%q, "ocpp1.6");
let n = 0;
const ask = () => ws.send(JSON.stringify([2, String(++n), "Heartbeat", {}]));
ws.onopen = () => { report("open"); ask(); };
ws.onclose = (e) => report("close " + e.code);
ws.onerror = () => report("error");
ws.onmessage = (e) => {
  const [type, id] = JSON.parse(e.data);
  report(type === 3 && id === String(n) ? "answer" : "wrong: " + e.data);
  setTimeout(ask, 20);
};
</script>`

// sightings are what the page has reported, counted.
type sightings struct {
	mu   sync.Mutex
	seen map[string]int
}

func (s *sightings) of(what string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[what]
}

// The WebSocket of a browser notices nothing.
func TestChromiumAcrossUpgrades(t *testing.T) {
	chromium := harness.Need(t, "chromium")
	w := harness.NewWithProcessor(t)
	reports := &sightings{seen: map[string]int{}}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/":
			rw.Header().Set("Content-Type", "text/html")
			fmt.Fprintf(rw, page, w.URLTLS()+"/CHROMIUM")
		case "/report":
			what, _ := io.ReadAll(r.Body)
			reports.mu.Lock()
			reports.seen[string(what)]++
			reports.mu.Unlock()
		}
	}))
	t.Cleanup(server.Close)
	said := new(lines)
	cmd := exec.Command(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE 127.0.0.2",
		"--ignore-certificate-errors", "--user-data-dir="+t.TempDir(), server.URL+"/")
	cmd.Stdout, cmd.Stderr = said, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it has many processes
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("reported: %v; Chromium says:\n%s", reports.seen, said)
		}
	})
	more := func() {
		t.Helper()
		want := reports.of("answer") + 5
		harness.Until(t, "answers to Chromium", func() bool { return reports.of("answer") >= want })
	}
	more()
	for range upgrades {
		w.MustUpgrade()
		more()
	}
	reports.mu.Lock()
	defer reports.mu.Unlock()
	if delete(reports.seen, "answer"); len(reports.seen) != 1 || reports.seen["open"] != 1 {
		t.Errorf("beside answers it has seen %v", reports.seen)
	}
}
