package realclients

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/tests/harness"
)

// installTime is how long npm may take, when its cache is empty.
const installTime = 2 * time.Minute

// install puts what package-lock.json says into node_modules, if it is not there.
func install(t *testing.T, dir string) {
	t.Helper()
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("this test needs Node.js 17.3 or later: %v", err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), installTime)
	defer cancel()
	check := exec.CommandContext(ctx, "npm", "ls", "--silent", "ocpp-rpc@2.2.1")
	check.Dir = dir
	if check.Run() == nil {
		return
	}
	ci := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	ci.Dir = dir
	if out, err := ci.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
}

func TestOCPPRPC(t *testing.T) {
	dir := filepath.Join(harness.TestsDir(t), "realclients")
	install(t, dir)
	w := start(t)
	for _, subprotocol := range []string{"ocpp1.6", "ocpp2.0.1", "ocpp2.1"} {
		t.Run(subprotocol, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), harness.Deadline)
			defer cancel()
			node := exec.CommandContext(ctx, "node", filepath.Join(dir, "ocpprpc.mjs"), w.URL(), subprotocol, "RPC-"+subprotocol)
			out, err := node.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "done\n") {
				t.Fatalf("%v\n%s", err, out)
			}
		})
	}
}
