package calls

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/tests/harness"
)

// An asker is forty lines in any language.
func TestCallScript(t *testing.T) {
	python := harness.Need(t, "python3")
	w := harness.New(t)
	w.Load(1, 0)
	script := filepath.Join(harness.TestsDir(t), "processors", "call.py")
	out, err := exec.CommandContext(t.Context(), python, script, w.Processors, "SIM-00000", "Reset", `{"type":"Soft"}`).CombinedOutput()
	if err != nil || !strings.Contains(string(out), `{"status":"Accepted","data":"SIM-00000 `) {
		t.Errorf("%v: %s", err, out)
	}
	out, err = exec.CommandContext(t.Context(), python, script, w.Processors, "nobody", "Reset").CombinedOutput()
	if err == nil || !strings.Contains(string(out), `"status":"offline"`) {
		t.Errorf("%v: %s", err, out)
	}
}
