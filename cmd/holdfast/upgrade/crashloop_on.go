//go:build holdfast_faults

package upgrade

import "os"

// crashLoopsAllowed reports whether a test kills the gateway again and again
// (HOLDFAST_CRASH_LOOP).
func crashLoopsAllowed() bool { return os.Getenv("HOLDFAST_CRASH_LOOP") != "" }
