package upgrade

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/cloudflare/tableflip"
)

// A child is the new process, as the old one sees it: started, found ready or
// dead, and ended if it must be. The zero value is one that was not started.
type child struct {
	result chan error // receives once: nil when the child is ready, or why it is dead
	ready  bool
	dead   error // why the child is dead, once that is known
	killed bool  // by this process
}

// start starts the child. died is called, on another goroutine, when the child
// has ended without having been ready.
func (c *child) start(flip *tableflip.Upgrader, died func()) {
	result := make(chan error, 1)
	go func() {
		err := runChild(flip)
		result <- err
		if err != nil {
			died()
		}
	}()
	c.result = result
}

// runChild starts the child and returns when it is ready or has ended. tableflip
// refuses an upgrade while the parent of this process lives. Its goroutine notices
// the parent's end a moment after WaitForParent does, on which the caller relies.
func runChild(flip *tableflip.Upgrader) error {
	for tries := 0; ; tries++ {
		err := flip.Upgrade()
		if err == nil || err.Error() != "parent hasn't exited" || tries == 1000 {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

// kill ends the child and waits until it is dead.
func (c *child) kill() {
	if c.result == nil || c.ended() {
		return
	}
	for _, pid := range Children() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	c.killed = true
	c.await()
}

// await waits until the child is ready, or dead.
func (c *child) await() {
	if !c.ready && c.dead == nil {
		c.dead = <-c.result
		c.ready = c.dead == nil
	}
}

// ended reports whether the child is known to be dead. It does not wait.
func (c *child) ended() bool {
	if len(c.result) > 0 {
		c.await()
	}
	return c.dead != nil
}

// Children returns the processes that this one has started. A gateway starts no
// others than the next gateway.
func Children() (pids []int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if err != nil {
			continue
		}
		// pid (comm) state ppid …, and comm may hold anything.
		rest := string(stat[bytes.LastIndexByte(stat, ')')+1:])
		if f := strings.Fields(rest); len(f) > 1 && f[1] == strconv.Itoa(os.Getpid()) {
			pids = append(pids, pid)
		}
	}
	return pids
}
