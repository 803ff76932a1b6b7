package peer

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/tests/bench/epoll"
	"holdfast/unixipc"
)

// Processor answers each message with itself, as fast as the protocol allows:
// one read, all frames of it, one write. The zero value is ready to Run; the
// counters may be read while it runs.
type Processor struct {
	Name string // empty: "bench"

	Opened   atomic.Int64
	Closed   atomic.Int64
	Messages atomic.Int64
	Refused  atomic.Int64 // replies that the gateway did not write
}

// window asked for: no limit but the gateway's.
const window = 65536

// link is one connection to the gateway.
type link struct {
	fd     int
	in     []byte // starts with a part of a frame of have bytes
	have   int
	unsent []byte
}

// Run joins the gateway at path with a link for each of its loops, waiting for
// the socket as long as wait, and serves until a link ends. joined is called
// once it has joined.
func (p *Processor) Run(path string, wait time.Duration, joined func()) error {
	poller, err := epoll.Open()
	if err != nil {
		return err
	}
	defer poller.Close()
	var links []*link
	defer func() {
		for _, l := range links {
			unix.Close(l.fd)
		}
	}()
	limit := 0
	for loops := 1; len(links) < loops; {
		l, welcome, err := p.join(path, len(links), wait)
		if err != nil {
			return fmt.Errorf("join %s: %w", path, err)
		}
		links, loops, limit = append(links, l), welcome.Loops, max(welcome.MaxMessage, unixipc.MaxControl)
		if err := poller.Add(l.fd); err != nil {
			return err
		}
	}
	joined()
	// What came in the same read as a WELCOME.
	for _, l := range links {
		if err := p.answer(poller, l, limit); err != nil {
			return err
		}
	}
	for {
		events, err := poller.Wait()
		if err != nil {
			return err
		}
		for i := range events {
			for _, l := range links {
				if l.fd == int(events[i].Fd) {
					if err := p.serve(poller, l, limit); err != nil {
						return err
					}
				}
			}
		}
	}
}

// join opens the link for one loop and reads its WELCOME.
func (p *Processor) join(path string, loop int, wait time.Duration) (*link, unixipc.WelcomeBody, error) {
	var welcome unixipc.WelcomeBody
	fd, err := connect(path, wait)
	if err != nil {
		return nil, welcome, err
	}
	name := p.Name
	if name == "" {
		name = "bench"
	}
	body, err := json.Marshal(unixipc.HelloBody{Name: name, Loop: loop, Window: window})
	if err != nil {
		return nil, welcome, err
	}
	l := &link{fd: fd, in: make([]byte, 256<<10)}
	hello := unixipc.Frame{Type: unixipc.Hello, Ref: unixipc.Version, Payload: body}.Append(nil)
	if _, err := unix.Write(fd, hello); err != nil {
		return nil, welcome, fmt.Errorf("send HELLO: %w", err)
	}
	for {
		n, err := unix.Read(fd, l.in[l.have:])
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return nil, welcome, fmt.Errorf("read WELCOME: %d bytes, %v", n, err)
		}
		l.have += n
		f, n, err := unixipc.Parse(l.in[:l.have], unixipc.MaxControl)
		if err != nil {
			return nil, welcome, err
		}
		if n == 0 {
			continue
		}
		if f.Type != unixipc.Welcome {
			return nil, welcome, fmt.Errorf("the gateway answers HELLO with %v %s", f.Type, f.Payload)
		}
		if err := json.Unmarshal(f.Payload, &welcome); err != nil {
			return nil, welcome, fmt.Errorf("parse WELCOME: %w", err)
		}
		l.have = copy(l.in, l.in[n:l.have])
		return l, welcome, unix.SetNonblock(fd, true)
	}
}

// connect waits until somebody listens at path.
func connect(path string, wait time.Duration) (int, error) {
	for deadline := time.Now().Add(wait); ; time.Sleep(20 * time.Millisecond) {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return -1, err
		}
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
		if err == nil {
			return fd, nil
		}
		unix.Close(fd)
		if time.Now().After(deadline) {
			return -1, err
		}
	}
}

// serve does one read, answers all of it, and does one write.
func (p *Processor) serve(poller *epoll.Poller, l *link, limit int) error {
	if len(l.unsent) > 0 {
		return l.flush(poller, nil)
	}
	if l.have == len(l.in) {
		l.in = append(l.in, make([]byte, len(l.in))...)
	}
	n, err := epoll.Read(l.fd, l.in[l.have:])
	if err == unix.EAGAIN {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read from the gateway: %w", err)
	}
	if n == 0 {
		return errors.New("the gateway has closed the link")
	}
	l.have += n
	return p.answer(poller, l, limit)
}

// answer acknowledges each delivery that is in l.in.
func (p *Processor) answer(poller *epoll.Poller, l *link, limit int) error {
	out, b := l.unsent, l.in[:l.have]
	var messages int64
	for {
		f, n, err := unixipc.Parse(b, limit)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		b = b[n:]
		switch f.Type {
		case unixipc.Message:
			messages++
			out = unixipc.Frame{Type: unixipc.Ack, Flags: f.Flags & unixipc.Binary, Ref: f.Ref, Key: f.Key, Payload: f.Payload}.Append(out)
		case unixipc.Opened:
			p.Opened.Add(1)
			out = unixipc.Frame{Type: unixipc.Ack, Ref: f.Ref, Key: f.Key}.Append(out)
		case unixipc.Closed:
			p.Closed.Add(1)
			out = unixipc.Frame{Type: unixipc.Ack, Ref: f.Ref, Key: f.Key}.Append(out)
		case unixipc.Result:
			p.Refused.Add(1)
		case unixipc.Refused:
			return fmt.Errorf("the gateway refuses: %s", f.Payload)
		}
	}
	p.Messages.Add(messages)
	l.have = copy(l.in, b)
	had := len(l.unsent)
	l.unsent = out[:had]
	return l.flush(poller, out[had:])
}

// flush writes b after what is unsent; b may follow it in the same array.
func (l *link) flush(poller *epoll.Poller, b []byte) error {
	had := len(l.unsent) > 0
	out := append(l.unsent, b...)
	n, err := epoll.Write(l.fd, out)
	if err != nil && err != unix.EAGAIN {
		return fmt.Errorf("write to the gateway: %w", err)
	}
	l.unsent = append(out[:0], out[n:]...)
	if has := len(l.unsent) > 0; has != had {
		return poller.Writable(l.fd, has)
	}
	return nil
}
