package shard

import (
	"holdfast/conn"
	"holdfast/unixipc"
)

// Late takes what becomes ready for a loop after the loop was handed over:
// handshakes and HELLOs that were under way at the freeze. It owns fd.
type Late interface {
	Open(loop, fd int, state conn.State, early, note []byte)
	Join(loop, fd int, hello unixipc.HelloBody, peer unixipc.Peer, operator bool, rest []byte)
}
