//go:build !holdfast_future

package upgrade

// features are those that the new process names in its HELLO.
func features() []string { return allFeatures }
