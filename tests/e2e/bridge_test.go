package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// The bridge's page, followed to the letter by somebody who has a central system, while
// chargers notice nothing of what it says they will not notice.
func TestBridgeInTenMinutes(t *testing.T) {
	able(t)
	m := boot(t)
	sim := simulator(t)
	dir := t.TempDir()
	for name, path := range packagesOf(t, "3.0.0") {
		m.give(name, read(t, path))
	}
	central := filepath.Join(dir, "central")
	cmd := exec.Command("go", "build", "-o", central, "../cmd/central")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	m.give("central", read(t, central))
	start := "systemd-run --unit central --collect /e2e/central -listen 127.0.0.1:9000 -ledger /tmp/ledger"
	m.do("chmod 755 /e2e/central && %s", start)

	page := read(t, "../../docs/bridge.md")
	_, section, ok := strings.Cut(page, "\n## In front of your central system, in ten minutes\n")
	if !ok {
		t.Fatal("the page has no such section")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	blocks := regexp.MustCompile(`(?m)(?:^    .*\n)+`).FindAllString(section, -1)
	if len(blocks) != 3 {
		t.Fatalf("%d blocks of commands", len(blocks))
	}
	for _, block := range blocks[:2] {
		m.do("cd /e2e && set -e\n%s", block)
	}
	load := m.connect(sim, 100, 200, plain)
	m.until("100 chargers at the central system", func() bool {
		return strings.Contains(m.do("holdfast-bridge status"), "connected to their central system  100")
	})
	for line := range strings.Lines(blocks[2]) {
		m.do("%s", line)
	}
	m.do("systemctl stop central && %s", start)
	m.do("echo 'route X* ws://127.0.0.1:9001/{identity}' >> /etc/holdfast/bridge.conf")
	if out := m.fails("holdfast-bridge -config /etc/holdfast/bridge.conf -dry-run"); !strings.Contains(out, "comes behind one that takes every charger") {
		t.Error(out)
	}
	m.fails("systemctl reload holdfast-bridge")
	if out := m.do("systemctl status --no-pager holdfast-bridge"); !strings.Contains(out, "comes behind one that takes every charger") {
		t.Errorf("the status does not say why the reload has failed:\n%s", out)
	}
	load.nothing()

	out := m.do("systemd-analyze security --no-pager holdfast-bridge.service")
	level := regexp.MustCompile(`Overall exposure level for holdfast-bridge.service: ([0-9.]+)`).FindStringSubmatch(out)
	if level == nil || level[1] > "1.5" {
		t.Errorf("exposure level %v, want at most 1.5:\n%s", level, out)
	}
	// An upgrade of the package restarts the bridge, and no charger notices.
	load = m.connect(sim, 50, 100, plain)
	for name, path := range packagesOf(t, "3.0.1") {
		m.give(name, read(t, path))
	}
	pid := m.property("holdfast-bridge", "MainPID")
	m.do("dpkg -i /e2e/holdfast-bridge_3.0.1_%s.deb", runtime.GOARCH) // with the fault that there is
	if now := m.property("holdfast-bridge", "MainPID"); now != pid {
		t.Errorf("process %s runs instead of %s, with a file that is at fault", now, pid)
	}
	m.do("sed -i '/X[*]/d' /etc/holdfast/bridge.conf && dpkg -i /e2e/holdfast-bridge_3.0.1_%s.deb", runtime.GOARCH)
	if now := m.property("holdfast-bridge", "MainPID"); now == pid {
		t.Errorf("process %s still runs", now)
	}
	if out := m.do("holdfast-bridge version"); out != "holdfast-bridge 3.0.1" {
		t.Error(out)
	}
	m.until("the bridge", func() bool {
		return strings.Contains(m.do("holdfast-bridge status"), "connected to their central system  50")
	})
	load.nothing()
	m.do("dpkg --purge holdfast-bridge")
	if out, err := m.try("systemctl --failed --no-legend"); err != nil || strings.TrimSpace(out) != "" {
		t.Errorf("units have failed: %s", out)
	}
}

// packagesOf makes the packages of the gateway and of the bridge, by their names.
func packagesOf(t *testing.T, version string) map[string]string {
	t.Helper()
	made := build(t, "VERSION="+version, "FORMATS=deb", "ARCHS="+runtime.GOARCH)
	bridges, err := filepath.Glob(filepath.Join(filepath.Dir(made[0]), "bridge", "holdfast-bridge_*"))
	if err != nil || len(bridges) != 1 || len(made) != 1 {
		t.Fatalf("made %q and %q, %v", made, bridges, err)
	}
	return map[string]string{filepath.Base(made[0]): made[0], fmt.Sprintf("holdfast-bridge_%s_%s.deb", version, runtime.GOARCH): bridges[0]}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
