package admin

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/tests/harness"
)

// One command for many chargers: it counts first, does it with -yes to each that
// matches and to no other, tells of each, and fails if it failed with one.
func TestBulk(t *testing.T) {
	t.Parallel()
	w := harness.New(t, "-loops", "2")
	w.Processor("p")
	var some []*charger
	for i := range 20 {
		some = append(some, connect(t, w, fmt.Sprintf("CP-%02d", i)))
	}
	other := connect(t, w, "X")

	for _, args := range [][]string{{"call", "CP-*", "Echo"}, {"close", "CP-*"}, {"send", "CP-*", `[6,"a","b",{}]`}} {
		code, out, errs := command(t, w, args[0], args[1:]...)
		if code != exitUsage || out != "" {
			t.Errorf("%v: exit code %d; printed %q", args, code, out)
		}
		oneLine(t, args[0], errs, "20 chargers match CP-*", "-yes")
	}
	code, _, errs := command(t, w, "close", "-yes", "CP-9?")
	if code != exitOffline || !strings.Contains(errs, "no charger that is connected matches CP-9?") {
		t.Errorf("exit code %d, %s", code, errs)
	}

	lines := strings.Split(strings.TrimSpace(done(t, w, "call", "-yes", "-rate", "1000", "CP-*", "Echo", `{"a":1}`)), "\n")
	slices.Sort(lines)
	if len(lines) != 20 || lines[0] != `CP-00  {"a":1}` || lines[19] != `CP-19  {"a":1}` {
		t.Errorf("%q", lines)
	}
	// One that does not answer costs the others nothing.
	code, out, errs := command(t, w, "call", "-yes", "-json", "-timeout", "500ms", "CP-0[0-3]", "Silent")
	if code != exitFailed || !strings.Contains(errs, "4 of 4 chargers") {
		t.Errorf("exit code %d, %s", code, errs)
	}
	for line := range strings.Lines(out) {
		var o struct{ Charger, Outcome string }
		if err := json.Unmarshal([]byte(line), &o); err != nil || o.Outcome != "timeout" || !strings.HasPrefix(o.Charger, "CP-0") {
			t.Errorf("%s: %v", line, err)
		}
	}
	done(t, w, "send", "-yes", "CP-0*", `[6,"a","b",{}]`)
	for i, c := range some {
		select {
		case got := <-c.got:
			if i >= 10 || got != `[6,"a","b",{}]` {
				t.Errorf("CP-%02d got %s", i, got)
			}
		case <-time.After(200 * time.Millisecond):
			if i < 10 {
				t.Errorf("CP-%02d got nothing", i)
			}
		}
	}
	began := time.Now()
	done(t, w, "close", "-yes", "-rate", "40", "-code", "1001", "CP-*")
	if took := time.Since(began); took < 400*time.Millisecond {
		t.Errorf("20 chargers at 40 a second took %v", took)
	}
	for i, c := range some {
		select {
		case code := <-c.closed:
			if code != 1001 {
				t.Errorf("CP-%02d is closed with %d", i, code)
			}
		case <-time.After(3 * time.Second):
			t.Errorf("CP-%02d is not closed", i)
		}
	}
	if out := done(t, w, "list", "-names"); out != "X\n" {
		t.Errorf("left are %q", out)
	}
	_ = other
}
