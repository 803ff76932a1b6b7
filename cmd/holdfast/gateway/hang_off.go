//go:build !holdfast_faults

package gateway

import (
	"holdfast/cmd/holdfast/shard"
)

// takeHang does something in builds for tests only.
func takeHang([]*shard.Shard) {}
