//go:build !holdfast_faults

package upgrade

func crashLoopsAllowed() bool { return false }
