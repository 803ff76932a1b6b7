package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"holdfast/tests/sim"
)

// chargers are simulated, by a process of this machine in the network of the other.
type chargers struct {
	m      *machine
	cmd    *exec.Cmd
	output bytes.Buffer
	report string // its file
	ended  chan error
}

// simulator builds tests/cmd/sim.
func simulator(t *testing.T) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "sim")
	cmd := exec.Command("go", "build", "-o", out, "../cmd/sim")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the simulator: %v\n%s", err, b)
	}
	return out
}

// connect connects n chargers to urls in turn, which all send together at a rate; 0:
// they only hold. It returns when the gateway holds them.
func (m *machine) connect(sim string, n int, rate float64, urls ...string) *chargers {
	m.t.Helper()
	c := &chargers{m: m, report: filepath.Join(m.t.TempDir(), "report.json"), ended: make(chan error, 1)}
	c.cmd = exec.Command("nsenter", "--target", strconv.Itoa(m.init), "--net", "--", sim, "-insecure",
		"-n", strconv.Itoa(n), "-rate", fmt.Sprint(rate), "-url", strings.Join(urls, ","), "-json", c.report)
	c.cmd.Stdout, c.cmd.Stderr = &c.output, &c.output
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	go func() { c.ended <- c.cmd.Wait() }()
	m.t.Cleanup(func() { _ = c.cmd.Process.Kill() })
	m.holds(n)
	return c
}

// holds waits until the gateway tells systemd that it holds n chargers.
func (m *machine) holds(n int) {
	m.t.Helper()
	m.until(fmt.Sprintf("%d chargers in the status", n), func() bool {
		return strings.Contains(m.property("holdfast", "StatusText"), fmt.Sprintf(", %d chargers,", n))
	})
}

// finish has them send no more, and returns what they have noticed.
func (c *chargers) finish() (r sim.Report) {
	c.m.t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGINT); err != nil {
		c.m.t.Fatal(err)
	}
	<-c.ended
	b, err := os.ReadFile(c.report)
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		c.m.t.Fatalf("report of the chargers: %v\n%s", err, c.output.String())
	}
	return r
}

// nothing says that they must have noticed nothing.
func (c *chargers) nothing() {
	c.m.t.Helper()
	r := c.finish()
	if err := r.Err(); err != nil {
		c.m.t.Errorf("chargers saw %v; first: %q", err, r.Faults)
	}
	if r.Sent != r.Answered {
		c.m.t.Errorf("%d sent, %d answered", r.Sent, r.Answered)
	}
	c.m.t.Logf("%d chargers, %d sent, %d answered, %d dropped, %d lost; longest silence %v", r.Opened, r.Sent, r.Answered, r.Dropped, r.Lost, r.LongestSilence)
}
