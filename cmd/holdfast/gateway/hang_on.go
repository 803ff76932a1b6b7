//go:build holdfast_faults

package gateway

import (
	"os"
	"os/signal"
	"syscall"

	"holdfast/cmd/holdfast/shard"
)

// takeHang has SIGUSR1 make the last loop stand still for ever.
func takeHang(shards []*shard.Shard) {
	hang := make(chan os.Signal, 1)
	signal.Notify(hang, syscall.SIGUSR1)
	go func() {
		<-hang
		shards[len(shards)-1].Loop.Post(func() { select {} })
	}()
}
