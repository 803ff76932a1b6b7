package bridge

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/tests/central"
	"holdfast/tests/harness"
)

// Chargers of npm ocpp-rpc before a central system of npm ocpp-rpc, both in strict mode.
func TestOCPPRPC(t *testing.T) {
	node, dir := harness.NeedOCPPRPC(t)
	w := newWorld(t, central.Config{})
	port := freePort(t)
	start := func() *harness.Process {
		cs := w.Run("central", node, filepath.Join(dir, "central.mjs"), fmt.Sprint(port))
		w.Logged(cs, "ready")
		return cs
	}
	cs := start()
	b := w.bridge("-route", fmt.Sprintf("* ws://127.0.0.1:%d/cs/{identity}", port))
	for _, subprotocol := range []string{"ocpp1.6", "ocpp2.0.1"} {
		ctx, cancel := context.WithTimeout(context.Background(), harness.Deadline)
		defer cancel()
		identity := "RPC-" + subprotocol
		out, err := exec.CommandContext(ctx, node, filepath.Join(dir, "ocpprpc.mjs"), w.URL(), subprotocol, identity).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "done\n") {
			t.Fatalf("%s: %v\n%s\n%s", subprotocol, err, out, cs.Log.Tail(20))
		}
		for _, action := range []string{"BootNotification", "Authorize"} {
			w.Logged(cs, "answers "+identity+" "+action)
		}
		w.Kill(cs)
		cs = start()
	}
	if b.Log.Contains(`"level":"WARN"`) {
		t.Error("the bridge warns of something")
	}
}
