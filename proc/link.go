package proc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/unixipc"
)

const (
	// helloTimeout is how long the gateway may take to answer a HELLO.
	helloTimeout = 10 * time.Second
	// maxUnwritten bounds the frames that wait for a gateway that does not read,
	// in bytes; beyond it workers wait, too.
	maxUnwritten = 1 << 20
	// lastWords is how long to read on when a link is over, as after a write that
	// failed: the gateway may have sent REFUSED with the reason before it closed it.
	lastWords = time.Second
)

// errDrained ends a link that has nothing left to do.
var errDrained = errors.New("drained")

// link is one connection to a loop of the gateway, from HELLO to its end. Its
// loop's goroutine reads; anyone may write. A link does not come back: after
// its end it takes frames and forgets them.
type link struct {
	conn    net.Conn
	in      frameReader
	welcome unixipc.WelcomeBody
	over    chan struct{} // closed when it is read no more, and the dispatcher has forgotten it

	mu       sync.Mutex
	out      []byte      // whole frames, not yet written
	spare    []byte      // the buffer before, empty
	flushing atomic.Bool // see flushSoon
	writing  bool        // somebody is in conn.Write, and writes what is added meanwhile
	lost     bool        // no frames any more
	progress sync.Cond
	token    uint64                          // of the last order
	orders   map[uint64]func(outcome, error) // by token: what to do with the outcome; it must not wait
	feeds    map[uint64]*feed                // by token of a TAP or WATCH
}

// outcome is the content of a RESULT.
type outcome struct {
	unixipc.ResultBody
	answer []byte // the charger's, to a CALL
}

// join sends HELLO on conn and waits for WELCOME. conn stays the caller's to
// close when it fails. A *RefusedError is for good.
func join(conn net.Conn, hello unixipc.HelloBody) (*link, error) {
	l := &link{
		conn:   conn,
		over:   make(chan struct{}),
		in:     frameReader{src: conn, maxPayload: unixipc.MaxControl},
		orders: make(map[uint64]func(outcome, error)),
		feeds:  make(map[uint64]*feed),
	}
	l.progress.L = &l.mu
	body, err := json.Marshal(hello)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write(unixipc.Frame{Type: unixipc.Hello, Ref: unixipc.Version, Payload: body}.Append(nil)); err != nil {
		return nil, fmt.Errorf("write HELLO: %w", err)
	}
	for {
		f, ok, err := l.in.next()
		switch {
		case err != nil:
			return nil, err
		case !ok:
			if err := l.in.fill(); err != nil {
				return nil, fmt.Errorf("wait for WELCOME: %w", err)
			}
		case f.Type == unixipc.Refused:
			return nil, refusal(unixipc.Hello.String(), f)
		case f.Type == unixipc.Welcome:
			if err := json.Unmarshal(f.Payload, &l.welcome); err != nil {
				return nil, fmt.Errorf("read WELCOME: %w", err)
			}
			l.in.maxPayload = max(l.welcome.MaxMessage, unixipc.MaxControl) + unixipc.MaxPrefix
			return l, nil
		default:
			return nil, fmt.Errorf("%v instead of WELCOME", f.Type)
		}
	}
}

// read passes deliveries to deliver, batch by batch, and questions to authorize,
// until the link ends. It returns the reason: errDrained, or a fault.
func (l *link) read(deliver func([]arrival), authorize func(l *link, token uint64, payload []byte)) error {
	var batch []arrival
	defer func() { deliver(batch) }()
	for {
		f, ok, err := l.in.next()
		switch {
		case err != nil:
			return err
		case !ok:
			deliver(batch)
			clear(batch)
			batch = batch[:0]
			if err := l.in.fill(); err != nil {
				return err
			}
			continue
		}
		switch f.Type {
		case unixipc.Opened, unixipc.Message, unixipc.Closed:
			batch = append(batch, arrival{f.Key, delivery{
				link: l, ref: f.Ref, kind: f.Type, flags: f.Flags, payload: bytes.Clone(f.Payload),
			}})
		case unixipc.Result:
			r, err := parseOutcome(f)
			if err != nil {
				return fmt.Errorf("read RESULT %d of %q: %w", f.Ref, f.Key, err)
			}
			if f.Flags&unixipc.ForDelivery == 0 {
				l.resolve(f.Ref, r)
			} else if err := outcomeError(unixipc.Ack, r.ResultBody); err != nil {
				batch = append(batch, arrival{f.Key, failedReply(f.Ref, err)})
			}
		case unixipc.Authorize:
			authorize(l, f.Ref, bytes.Clone(f.Payload))
		case unixipc.Moved:
			batch = append(batch, arrival{f.Key, delivery{kind: unixipc.Moved}})
		case unixipc.Tapped, unixipc.Seen:
			l.mu.Lock()
			fd := l.feeds[f.Ref]
			l.mu.Unlock()
			if fd != nil {
				fd.put(l, f)
			}
		case unixipc.Drained:
			return errDrained
		case unixipc.Refused:
			return refusal("link", f)
		}
	}
}

func parseOutcome(f unixipc.Frame) (o outcome, err error) {
	if f.Flags&unixipc.Answered == 0 {
		return o, json.Unmarshal(f.Payload, &o.ResultBody)
	}
	_, message, ok := unixipc.ParseAnswer(f.Payload)
	if !ok {
		return o, errors.New("answer of a charger without its time")
	}
	o.Status, o.answer = unixipc.StatusOK, bytes.Clone(message)
	return o, nil
}

func refusal(what string, f unixipc.Frame) error {
	var r unixipc.RefusedBody
	if json.Unmarshal(f.Payload, &r) != nil || r.Why == "" {
		r.Why = "no reason given"
	}
	if r.Retry {
		return fmt.Errorf("%s refused for now: %s", what, r.Why)
	}
	return &RefusedError{What: what, Why: r.Why, Versions: r.Versions}
}

// put adds a frame to the buffer. It waits while the buffer is full, and
// reports false if the link is lost. The frame is written with the next flush.
func (l *link) put(t unixipc.Type, flags unixipc.Flags, ref uint64, key string, payload []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.append(t, flags, ref, key, payload)
}

// append is put, with l.mu held.
func (l *link) append(t unixipc.Type, flags unixipc.Flags, ref uint64, key string, payload []byte) bool {
	for len(l.out) >= maxUnwritten && !l.lost {
		if l.writing {
			l.progress.Wait()
		} else {
			l.write()
		}
	}
	if l.lost {
		return false
	}
	l.out = append(unixipc.AppendHeader(l.out, t, flags, ref, key, len(payload)), payload...)
	return true
}

// flush sees to it that everything in the buffer gets written, by this
// goroutine or by the one that is writing already.
func (l *link) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.writing {
		l.write()
	}
}

// write writes until the buffer is empty. l.mu is held, except while writing.
func (l *link) write() {
	for len(l.out) > 0 && !l.lost {
		frames := l.out
		l.out, l.spare, l.writing = l.spare, nil, true
		l.mu.Unlock()
		_, err := l.conn.Write(frames)
		l.mu.Lock()
		l.writing = false
		if cap(frames) <= maxUnwritten {
			l.spare = frames[:0]
		}
		if err != nil {
			l.lost = true
			l.hurry() // the reader ends the link
		}
		l.progress.Broadcast()
	}
}

// order sends an order to the gateway and waits for its outcome; the answer is
// the charger's to a CALL.
func (l *link) order(ctx context.Context, what unixipc.Type, flags unixipc.Flags, key string, payload []byte) (answer []byte, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	type end struct {
		outcome
		err error
	}
	ended := make(chan end, 1)
	token, err := l.begin(what, flags, key, payload, func(o outcome, err error) { ended <- end{o, err} })
	if err != nil {
		return nil, err
	}
	select {
	case e := <-ended:
		if e.err != nil {
			return nil, e.err
		}
		return e.answer, outcomeError(what, e.ResultBody)
	case <-ctx.Done():
		l.mu.Lock()
		delete(l.orders, token)
		l.mu.Unlock()
		return nil, ctx.Err()
	}
}

// begin sends an order. Unless it returns an error, done is called once: with the
// outcome, or with ErrLinkLost.
func (l *link) begin(what unixipc.Type, flags unixipc.Flags, key string, payload []byte, done func(outcome, error)) (token uint64, err error) {
	if limit := l.welcome.MaxMessage; limit > 0 && len(payload) > limit {
		return 0, &RefusedError{What: what.String(), Why: fmt.Sprintf("%d bytes are over the gateway's limit of %d", len(payload), limit)}
	}
	if len(key) > unixipc.MaxKey {
		return 0, &RefusedError{What: what.String(), Why: fmt.Sprintf("an identity of %d bytes; at most %d", len(key), unixipc.MaxKey)}
	}
	l.mu.Lock()
	l.token++
	token = l.token
	sent := l.append(what, flags, token, key, payload)
	if sent {
		l.orders[token] = done
	}
	l.mu.Unlock()
	if !sent {
		return 0, ErrNoLink
	}
	l.flush()
	return token, nil
}

// resolve gives an order its outcome.
func (l *link) resolve(token uint64, o outcome) {
	l.mu.Lock()
	done, fd := l.orders[token], l.feeds[token]
	delete(l.orders, token)
	l.mu.Unlock()
	if done != nil {
		done(o, nil)
	}
	if fd != nil && o.Status != unixipc.StatusOK {
		fd.fail(outcomeError(fd.kind, o.ResultBody))
	}
}

// hurry has the reader take what has arrived, and end the link.
func (l *link) hurry() { l.conn.SetReadDeadline(time.Now().Add(lastWords)) }

// end closes the connection and lets go of everyone who waits for it.
func (l *link) end() {
	l.conn.Close()
	l.mu.Lock()
	l.lost = true
	l.out, l.spare = nil, nil
	orders := l.orders
	l.orders = nil
	clear(l.feeds)
	l.progress.Broadcast()
	l.mu.Unlock()
	for _, done := range orders {
		done(outcome{}, ErrLinkLost)
	}
}
