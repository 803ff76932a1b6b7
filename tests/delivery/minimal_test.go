package delivery

import (
	"path/filepath"
	"testing"

	"holdfast/tests/harness"
	"holdfast/tests/sim"
)

// The processors of forty lines answer a charger's life, drain, and may be killed.
func TestMinimalProcessors(t *testing.T) {
	for _, c := range []struct{ name, interpreter, file string }{
		{"python", "python3", "minimal.py"},
		{"node", "node", "minimal.mjs"},
	} {
		t.Run(c.name, func(t *testing.T) {
			interpreter := harness.Need(t, c.interpreter)
			w := harness.New(t)
			script := filepath.Join(harness.TestsDir(t), "processors", c.file)
			run := func(name string) *harness.Process {
				return w.Run(c.file, interpreter, script, w.Processors, name)
			}
			first := run("first")
			l := w.Load(20, 200, func(c *sim.Config) { c.Subprotocols = []string{"ocpp1.6"} })
			l.More(20 * 14) // boot, then more than one transaction each
			second := run("second")
			l.More(100)
			w.Terminate(first)
			l.More(100)
			w.Kill(second)
			run("third")
			l.More(100)
			l.Finish()
		})
	}
}
