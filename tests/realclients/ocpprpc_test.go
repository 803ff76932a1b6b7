package realclients

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/tests/harness"
)

func TestOCPPRPC(t *testing.T) {
	node, dir := harness.NeedOCPPRPC(t)
	w := harness.NewWithProcessor(t)
	for _, subprotocol := range []string{"ocpp1.6", "ocpp2.0.1", "ocpp2.1"} {
		t.Run(subprotocol, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), harness.Deadline)
			defer cancel()
			charger := exec.CommandContext(ctx, node, filepath.Join(dir, "ocpprpc.mjs"), w.URL(), subprotocol, "RPC-"+subprotocol)
			out, err := charger.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "done\n") {
				t.Fatalf("%v\n%s", err, out)
			}
		})
	}
}
