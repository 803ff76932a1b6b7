package shard

import "golang.org/x/sys/unix"

// CloseFD ends the connection of fd, also for those who hold a duplicate. Any
// goroutine may call it.
func CloseFD(fd int) error {
	_ = unix.Shutdown(fd, unix.SHUT_RDWR)
	return unix.Close(fd)
}
