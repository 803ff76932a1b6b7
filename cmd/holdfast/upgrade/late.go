package upgrade

import (
	"sync/atomic"

	"holdfast/cmd/holdfast/shard"
	"holdfast/conn"
	"holdfast/unixipc"
	"holdfast/unixipc/handoff"

	"golang.org/x/sys/unix"
)

// A lateSender sends to the new process what became ready after the loops had
// stopped. It implements shard.Late.
type lateSender struct {
	old *handoff.Old
	ids *atomic.Uint32
}

func (l *lateSender) Open(s *shard.Shard, fd int, state conn.State, early []byte) {
	l.send(s, fd, appendItem(nil, itemLateOpen, s.Index, conn.AppendState(nil, state, early), nil), state.Identity)
}

func (l *lateSender) Join(s *shard.Shard, fd int, hello unixipc.HelloBody, peer unixipc.Peer, operator bool, rest []byte) {
	l.send(s, fd, appendLateJoin(nil, s.Index, hello, peer, operator, rest), hello.Name)
}

func (l *lateSender) send(s *shard.Shard, fd int, state []byte, name string) {
	if err := l.old.Late(handoff.Item{ID: uint64(l.ids.Add(1)), FD: fd, State: state}); err != nil {
		s.Log.Error("late hand-over failed: the connection is lost", "name", name, "err", err)
	}
	_ = unix.Close(fd) // the new process has its own
}
