package upgrade

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"holdfast/cmd/holdfast/admin"
	"holdfast/unixipc"
	"holdfast/unixipc/handoff"

	"github.com/cloudflare/tableflip"
)

// The new process, as the old one sees it: a child that is started, found ready
// or dead, and ended if it must be.

// spawn starts the child with the listeners and its end of the channel.
func (u *upgrade) spawn() error {
	u.tell(admin.Progress{Phase: "start", Text: "starting " + os.Args[0]})
	ours, theirs, err := unixipc.SocketPair()
	if err != nil {
		return err
	}
	defer func() { _ = ours.Close() }() // FileConn duplicates
	defer func() { _ = theirs.Close() }()
	c, err := net.FileConn(ours)
	if err != nil {
		return fmt.Errorf("hand-over channel: %w", err)
	}
	u.old = handoff.NewOld(c.(*net.UnixConn), u.g.Config.UpgradeTimeout)
	if err := u.g.Flip.AddFile(handoffFile, theirs); err != nil {
		return fmt.Errorf("hand-over channel: %w", err)
	}
	result := make(chan error, 1)
	go func() {
		err := startChild(u.g.Flip)
		result <- err
		if err != nil {
			// This process holds a duplicate of the child's end, so its death
			// does not show on the channel. What it has left there is still read.
			_ = u.old.CloseRead()
		}
	}()
	u.child = result
	return nil
}

// startChild starts the child and returns when it is ready or has ended. The
// goroutine inside tableflip that refuses an upgrade while the parent lives learns
// of the parent's end a moment after WaitForParent, on which awaitParent relies.
func startChild(flip *tableflip.Upgrader) error {
	for tries := 0; ; tries++ {
		err := flip.Upgrade()
		if err == nil || err.Error() != "parent hasn't exited" || tries == 1000 {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

// kill ends the child and waits until it is dead.
func (u *upgrade) kill() {
	if u.child == nil || u.ended() {
		return
	}
	for _, pid := range Children() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	u.killed = true
	u.await()
}

// await waits until the child is ready, or dead.
func (u *upgrade) await() {
	if !u.ready && u.dead == nil {
		u.dead = <-u.child
		u.ready = u.dead == nil
	}
}

// ended tells whether the child is known to be dead.
func (u *upgrade) ended() bool {
	if len(u.child) > 0 {
		u.await()
	}
	return u.dead != nil
}

// Children are the processes that this one has started. It starts no others
// than the next gateway.
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
