package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"holdfast/cmd/holdfast/gate"
	"holdfast/cmd/holdfast/metrics"
	"holdfast/cmd/holdfast/shard"
	"holdfast/conn"
	"holdfast/relay"
	"holdfast/unixipc"
)

// listenUnix listens at path with the rights that mask leaves. A socket that a live process
// listens on is left alone; a stale one is replaced.
func listenUnix(path string, mask int) (*net.UnixListener, error) {
	if info, err := os.Lstat(path); err == nil {
		if info.Mode()&os.ModeSocket == 0 {
			return nil, fmt.Errorf("%s exists and is not a socket", path)
		}
		c, err := net.DialTimeout("unix", path, time.Second)
		if err == nil {
			who := unixipc.PeerOf(c.(*net.UnixConn))
			_ = c.Close()
			return nil, fmt.Errorf("%s is taken by the live process %d; stop it, or choose another path", path, who.PID)
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return nil, fmt.Errorf("%s exists, and whether a process listens on it cannot be told: %w", path, err)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("stale socket: %w", err)
		}
	}
	old := syscall.Umask(mask) // the socket never exists with more rights
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	syscall.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("listen on a Unix socket: %w", err)
	}
	return l, nil
}

// A linkAcceptor welcomes processors: it reads their HELLO and passes them to the
// loop they ask for.
type linkAcceptor struct {
	listener   *net.UnixListener
	shards     []*shard.Shard
	log        *slog.Logger
	maxLinks   int
	maxMessage int
	joined     *atomic.Int64
	gate       *gate.Gate
	counters   *metrics.Counters
}

// run accepts until the listener is closed.
func (r *linkAcceptor) run() {
	for {
		c, err := r.listener.AcceptUnix()
		if err != nil {
			over, again := r.gate.Stopped(err)
			if over {
				return
			}
			if !again {
				r.log.Error("cannot accept processors", "err", err)
				time.Sleep(acceptPause)
			}
			continue
		}
		r.receive(c, nil, false)
	}
}

// receive welcomes a connection that was accepted, here or elsewhere; early are
// bytes that were read from it. An operator is one by where it came in.
func (r *linkAcceptor) receive(c *net.UnixConn, early []byte, operator bool) {
	r.gate.Enter()
	go func() {
		defer r.gate.Leave()
		r.welcome(c, early, operator)
	}()
}

// welcome reads a HELLO from c, and hands c over or refuses it.
func (r *linkAcceptor) welcome(c *net.UnixConn, early []byte, operator bool) {
	who := unixipc.PeerOf(c)
	if n := r.joined.Add(1); int(n) > r.maxLinks {
		r.refuse(c, who, fmt.Errorf("there are %d links already (-max-links)", r.maxLinks), true)
		return
	}
	hello, rest, err := readHello(c, early, r.shards[0].Relay)
	if err != nil {
		r.refuse(c, who, err, false)
		return
	}
	fd, err := conn.Take(c)
	if err != nil {
		r.log.Error("processor lost", "processor", hello.Name, "err", err)
		r.joined.Add(-1)
		return
	}
	w := r.shards[hello.Loop]
	w.Loop.Post(func() { w.Join(fd, hello, who, operator, rest) })
}

// readHello reads the first frame of a processor, from early on; rest came with it.
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

func (r *linkAcceptor) refuse(c *net.UnixConn, who unixipc.Peer, why error, retry bool) {
	r.joined.Add(-1)
	r.counters.LinkRefused()
	r.log.Warn("processor refused", "pid", who.PID, "uid", who.UID, "reason", why.Error())
	body, _ := json.Marshal(unixipc.RefusedBody{Why: why.Error(), Versions: []int{unixipc.Version}, Retry: retry})
	_ = c.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = c.Write(unixipc.Frame{Type: unixipc.Refused, Payload: body}.Append(nil))
	_ = c.Close()
}
