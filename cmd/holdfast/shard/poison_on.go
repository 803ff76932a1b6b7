//go:build holdfast_faults

package shard

import "bytes"

// poison panics at a message that a test sends for it: HOLDFAST-POISON.
func poison(payload []byte) {
	if bytes.Contains(payload, []byte("HOLDFAST-POISON")) {
		panic("a message that a test has poisoned")
	}
}
