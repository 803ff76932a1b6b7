package proc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"path"
	"sync"

	"holdfast/unixipc"
)

// ErrSlow: the function passed to Watch does not keep up with the changes, and
// too many of them wait for it.
var ErrSlow = errors.New("too slow for what is to be seen")

// maxFed bounds what waits for a function, in bytes.
const maxFed = 64 << 20

// feed is a TAP or WATCH on all loops: the readers of the links put frames in,
// and whoever asked takes them out.
type feed struct {
	kind unixipc.Type
	body []byte

	mu     sync.Mutex
	loops  map[*link]place
	frames []fed
	bytes  int
	missed uint64 // TAPPED that found no room
	err    error
	more   chan struct{} // holds one when there is something new
}

// place is where a link's frames come from.
type place struct {
	loop  int
	token uint64
}

// fed is a TAPPED or SEEN. If again is set it has no frame: the loop has a new
// link, and what follows comes from that one.
type fed struct {
	loop  int
	frame unixipc.Frame
	again bool
}

// feed begins one on all links, now and to come. Release it.
func (c *Client) feed(kind unixipc.Type, glob string) (*feed, error) {
	if _, err := path.Match(glob, ""); err != nil || glob == "" || len(glob) > unixipc.MaxGlob {
		return nil, &RefusedError{What: kind.String(), Why: "not a glob: " + glob[:min(len(glob), 100)]}
	}
	body, err := json.Marshal(unixipc.GlobBody{Glob: glob})
	if err != nil {
		return nil, err
	}
	fd := &feed{kind: kind, body: body, loops: map[*link]place{}, more: make(chan struct{}, 1)}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.feeds[fd] = true
	for loop, l := range c.links {
		fd.open(loop, l)
	}
	return fd, nil
}

// release ends fd.
func (c *Client) release(fd *feed) {
	c.mu.Lock()
	delete(c.feeds, fd)
	c.mu.Unlock()
	fd.mu.Lock()
	loops := fd.loops
	fd.loops = nil
	fd.mu.Unlock()
	for l, at := range loops {
		l.unsubscribe(at.token)
	}
}

// open begins fd on a link. The client's lock is held.
func (fd *feed) open(loop int, l *link) {
	token := l.subscribe(fd)
	fd.mu.Lock()
	for before, at := range fd.loops {
		if at.loop == loop { // it has ended
			delete(fd.loops, before)
			fd.frames = append(fd.frames, fed{loop: loop, again: true})
			fd.wake()
		}
	}
	fd.loops[l] = place{loop, token}
	fd.mu.Unlock()
	l.put(fd.kind, 0, token, "", fd.body)
	l.flush()
}

// put takes a frame from a link's reader, which it never makes wait.
func (fd *feed) put(l *link, f unixipc.Frame) {
	fd.mu.Lock()
	defer fd.mu.Unlock()
	at, ok := fd.loops[l]
	if !ok {
		return
	}
	if fd.bytes > maxFed {
		if fd.kind == unixipc.Tap {
			fd.missed++
		} else {
			fd.err = ErrSlow
		}
		return
	}
	f.Key, f.Payload = bytes.Clone(f.Key), bytes.Clone(f.Payload)
	fd.frames = append(fd.frames, fed{loop: at.loop, frame: f})
	fd.bytes += len(f.Payload)
	fd.wake()
}

func (fd *feed) fail(err error) {
	fd.mu.Lock()
	defer fd.mu.Unlock()
	if fd.err == nil {
		fd.err = err
	}
	fd.wake()
}

func (fd *feed) wake() {
	select {
	case fd.more <- struct{}{}:
	default:
	}
}

// take waits for frames; missed is how many were dropped behind them.
func (fd *feed) take(ctx context.Context) (frames []fed, missed uint64, err error) {
	for {
		fd.mu.Lock()
		frames, missed, err = fd.frames, fd.missed, fd.err
		fd.frames, fd.bytes, fd.missed = nil, 0, 0
		fd.mu.Unlock()
		if len(frames) > 0 || missed > 0 {
			return frames, missed, nil
		}
		if err != nil {
			return nil, 0, err
		}
		select {
		case <-fd.more:
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
}

// subscribe reserves a token, whose frames go to fd.
func (l *link) subscribe(fd *feed) (token uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.token++
	if !l.lost {
		l.feeds[l.token] = fd
	}
	return l.token
}

func (l *link) unsubscribe(token uint64) {
	l.mu.Lock()
	delete(l.feeds, token)
	l.mu.Unlock()
	l.put(unixipc.Stop, 0, token, "", nil)
	l.flush()
}

// ended reports whether the link has ended.
func (l *link) ended() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}
