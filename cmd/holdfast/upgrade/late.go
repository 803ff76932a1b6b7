package upgrade

import (
	"log/slog"
	"sync/atomic"

	"holdfast/cmd/holdfast/item"
	"holdfast/conn"
	"holdfast/unixipc"
	"holdfast/unixipc/handoff"

	"golang.org/x/sys/unix"
)

// A lateSender sends to the new process what became ready after the loops had
// stopped. It implements shard.Late.
type lateSender struct {
	old *handoff.Old
	ids *atomic.Uint32 // of items
	log *slog.Logger
}

// Open implements shard.Late.
func (l *lateSender) Open(loop, fd int, state conn.State, early, note []byte) {
	l.send(fd, item.Append(nil, itemLateOpen, loop, conn.AppendState(nil, state, early), note), state.Identity)
}

// Join implements shard.Late.
func (l *lateSender) Join(loop, fd int, hello unixipc.HelloBody, peer unixipc.Peer, operator bool, rest []byte) {
	l.send(fd, appendLateJoin(nil, loop, hello, peer, operator, rest), hello.Name)
}

// send sends one item, and closes fd: the new process has its own.
func (l *lateSender) send(fd int, state []byte, name string) {
	if err := l.old.Late(handoff.Item{ID: uint64(l.ids.Add(1)), FD: fd, State: state}); err != nil {
		l.log.Error("late hand-over failed: the connection is lost", "name", name, "err", err)
	}
	_ = unix.Close(fd)
}
