//go:build holdfast_future

package upgrade

import "os"

// features are those that the new process names in its HELLO: none with
// HOLDFAST_FUTURE=forgets, as if it were an older release.
func features() []string {
	if os.Getenv("HOLDFAST_FUTURE") == "forgets" {
		return nil
	}
	return allFeatures
}
