package upgrade

import "runtime/debug"

// gcPercent is how much garbage the heap may hold while connections are handed
// over, in percent of what lives. A hand-over is short, and collecting would add
// to the pause.
const gcPercent = 400

// RestGC makes collecting rare until restore is called.
func RestGC() (restore func()) {
	usual := debug.SetGCPercent(gcPercent)
	return func() { debug.SetGCPercent(usual) }
}
