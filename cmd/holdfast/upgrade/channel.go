package upgrade

import (
	"fmt"
	"net"
	"time"

	"holdfast/unixipc"

	"github.com/cloudflare/tableflip"
)

// handoffFile is the name under which the new process inherits its end of the
// channel.
const handoffFile = "handoff"

// FlipTimeout is when tableflip ends a new process that is not ready. The
// hand-over has shorter limits of its own, and must be the one that decides.
const FlipTimeout = 24 * time.Hour

// beginNote is the note of BEGIN, in JSON.
type beginNote struct {
	Loops       int
	Connections int64
	PID         int
	Instance    string // see unixipc.WelcomeBody
}

// openChannel makes the channel, and has the process that flip starts next
// inherit its end. The caller owns the end that is returned.
func openChannel(flip *tableflip.Upgrader) (*net.UnixConn, error) {
	ours, theirs, err := unixipc.SocketPair()
	if err != nil {
		return nil, err
	}
	defer func() { _ = ours.Close() }() // FileConn duplicates
	defer func() { _ = theirs.Close() }()
	c, err := net.FileConn(ours)
	if err != nil {
		return nil, fmt.Errorf("hand-over channel: %w", err)
	}
	if err := flip.AddFile(handoffFile, theirs); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("hand-over channel: %w", err)
	}
	return c.(*net.UnixConn), nil
}

// Inherited returns the channel to the process that started this one; nil if
// there is none.
func Inherited(flip *tableflip.Upgrader) (*net.UnixConn, error) {
	if !flip.HasParent() {
		return nil, nil
	}
	f, err := flip.File(handoffFile)
	if err != nil || f == nil {
		return nil, fmt.Errorf("started by another gateway, but without a hand-over channel: %w", err)
	}
	defer func() { _ = f.Close() }()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("hand-over channel: %w", err)
	}
	return c.(*net.UnixConn), nil
}
