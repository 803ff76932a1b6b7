package gateway

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"holdfast/cmd/holdfast/gate"
	"holdfast/cmd/holdfast/metrics"
	"holdfast/cmd/holdfast/shard"
	"holdfast/conn"
	"holdfast/relay"
	"holdfast/unixipc"
)

// A linkAcceptor welcomes processors: it reads their HELLO and passes them to the
// loop they ask for.
type linkAcceptor struct {
	listener *net.UnixListener
	shards   []*shard.Shard
	log      *slog.Logger
	maxLinks int

	cannotAccept reminder // in the log
	joined       *atomic.Int64
	gate         *gate.Gate
	counters     *metrics.Counters
}

// run accepts until the listener is closed.
func (a *linkAcceptor) run() {
	for {
		c, err := a.listener.AcceptUnix()
		if err != nil {
			over, again := a.gate.Stopped(err)
			if over {
				return
			}
			if !again {
				if a.cannotAccept.due(time.Now()) {
					a.log.Error("cannot accept processors", "err", err)
				}
				time.Sleep(acceptPause)
			}
			continue
		}
		a.receive(c, nil, false)
	}
}

// receive welcomes a connection that was accepted, here or by the admin server.
// early are bytes that were read from it. Whether it is an operator depends on the
// socket that it came by.
func (a *linkAcceptor) receive(c *net.UnixConn, early []byte, operator bool) {
	a.gate.Enter()
	go func() {
		defer a.gate.Leave()
		a.welcome(c, early, operator)
	}()
}

// welcome reads a HELLO from c, and hands c over or refuses it.
func (a *linkAcceptor) welcome(c *net.UnixConn, early []byte, operator bool) {
	who := unixipc.PeerOf(c)
	if n := a.joined.Add(1); int(n) > a.maxLinks {
		a.refuse(c, who, fmt.Errorf("there are %d links already (-max-links)", a.maxLinks), true)
		return
	}
	hello, rest, err := readHello(c, early, a.shards[0].Relay)
	if err != nil {
		a.refuse(c, who, err, false)
		return
	}
	fd, err := conn.Take(c)
	if err != nil {
		a.log.Error("processor lost", "processor", hello.Name, "err", err)
		a.joined.Add(-1)
		return
	}
	s := a.shards[hello.Loop]
	s.Loop.Post(func() { s.Join(fd, hello, who, operator, rest) })
}

// readHello reads the first frame of a processor, of which early was read already.
// rest are bytes that followed it.
func readHello(c *net.UnixConn, early []byte, check *relay.Relay) (h unixipc.HelloBody, rest []byte, err error) {
	if err := c.SetDeadline(time.Now().Add(shard.HelloTimeout)); err != nil {
		return h, nil, err
	}
	buf := append(make([]byte, 0, max(4096, 2*len(early))), early...)
	for first := true; ; first = false {
		if !first || len(early) == 0 {
			n, err := c.Read(buf[len(buf):cap(buf)])
			buf = buf[:len(buf)+n]
			if err != nil {
				return h, nil, fmt.Errorf("no HELLO: %w", err)
			}
		}
		f, used, err := unixipc.Parse(buf, unixipc.MaxControl)
		switch {
		case err != nil:
			return h, nil, err
		case used == 0:
			if len(buf) == cap(buf) {
				buf = append(buf, 0)[:len(buf)]
			}
			continue
		case f.Type != unixipc.Hello:
			return h, nil, fmt.Errorf("the first frame must be HELLO, not %v", f.Type)
		}
		if err := json.Unmarshal(f.Payload, &h); err != nil {
			return h, nil, fmt.Errorf("HELLO: %w", err)
		}
		if err := check.CheckHello(f.Ref, h); err != nil {
			return h, nil, fmt.Errorf("HELLO: %w", err)
		}
		return h, buf[used:], c.SetDeadline(time.Time{})
	}
}

func (a *linkAcceptor) refuse(c *net.UnixConn, who unixipc.Peer, why error, retry bool) {
	a.joined.Add(-1)
	a.counters.LinkRefused()
	a.log.Warn("processor refused", "pid", who.PID, "uid", who.UID, "reason", why.Error())
	body, _ := json.Marshal(unixipc.RefusedBody{Why: why.Error(), Versions: relay.RefusedVersions(why), Retry: retry})
	_ = c.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = c.Write(unixipc.Frame{Type: unixipc.Refused, Payload: body}.Append(nil))
	_ = c.Close()
}
