package unixipc

import (
	"net"
	"syscall"
)

// Peer is the process at the other end of a Unix socket when it was connected, by
// SO_PEERCRED; -1 for what is not known.
type Peer struct{ PID, UID, GID int }

// PeerOf returns the peer of c.
func PeerOf(c *net.UnixConn) Peer {
	p := Peer{-1, -1, -1}
	raw, err := c.SyscallConn()
	if err != nil {
		return p
	}
	_ = raw.Control(func(fd uintptr) { p = PeerOfFD(int(fd)) })
	return p
}

// PeerOfFD returns the peer of the connected Unix socket fd.
func PeerOfFD(fd int) Peer {
	cred, err := syscall.GetsockoptUcred(fd, syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	if err != nil {
		return Peer{-1, -1, -1}
	}
	return Peer{int(cred.Pid), int(cred.Uid), int(cred.Gid)}
}
