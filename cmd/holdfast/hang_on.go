//go:build holdfast_faults

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// takeHang has SIGUSR1 make the last loop stand still for ever.
func takeHang(worlds []*world) {
	hang := make(chan os.Signal, 1)
	signal.Notify(hang, syscall.SIGUSR1)
	go func() {
		<-hang
		worlds[len(worlds)-1].loop.Post(func() { select {} })
	}()
}
