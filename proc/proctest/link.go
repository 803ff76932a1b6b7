package proctest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"holdfast/unixipc"
)

// link is one processor's connection. gw.mu guards it; its own goroutines read
// and write without it.
type link struct {
	gw       *Gateway
	conn     net.Conn
	hello    unixipc.HelloBody
	window   int // of one charger
	joined   bool
	draining bool
	drained  bool // DRAINED is on its way
	watches  map[uint64]string
	asked    map[uint64]chan unixipc.VerdictBody
	out      []byte
	more     sync.Cond // out has grown, or last is set
	last     bool      // close when out is written
}

// serve is the life of a connection.
func (gw *Gateway) serve(conn net.Conn) {
	l := &link{gw: gw, conn: conn}
	l.more.L = &gw.mu
	gw.serving.Go(l.write)
	l.read()
	gw.mu.Lock()
	defer gw.mu.Unlock()
	gw.leave(l)
	l.last = true
	l.more.Signal()
}

// read takes frames until the connection ends or a frame is at fault.
func (l *link) read() {
	buf := make([]byte, 0, 64<<10)
	for {
		f, n, err := unixipc.Parse(buf, max(l.gw.MaxMessage, unixipc.MaxControl))
		if err == nil && n == 0 {
			if len(buf) == cap(buf) {
				buf = append(buf, make([]byte, len(buf))...)[:len(buf)]
			}
			n, err := l.conn.Read(buf[len(buf):cap(buf)])
			if err != nil {
				return
			}
			buf = buf[:len(buf)+n]
			continue
		}
		l.gw.mu.Lock()
		if err == nil {
			err = l.take(f)
		}
		if err != nil {
			body := unixipc.RefusedBody{Why: err.Error()}
			if _, ok := errors.AsType[versionError](err); ok {
				body.Versions = []int{unixipc.Version}
			}
			l.put(unixipc.Refused, 0, 0, "", mustJSON(body))
			l.gw.mu.Unlock()
			return
		}
		l.gw.mu.Unlock()
		buf = buf[:copy(buf, buf[n:])]
	}
}

// write writes what put has added, and closes the connection after the last.
func (l *link) write() {
	l.gw.mu.Lock()
	defer l.gw.mu.Unlock()
	defer delete(l.gw.conns, l.conn)
	defer l.conn.Close()
	for {
		for len(l.out) == 0 {
			if l.last {
				return
			}
			l.more.Wait()
		}
		frames := l.out
		l.out = nil
		l.gw.mu.Unlock()
		_, err := l.conn.Write(frames)
		l.gw.mu.Lock()
		if err != nil {
			return
		}
	}
}

// The rest is called with gw.mu held.

func (l *link) put(t unixipc.Type, flags unixipc.Flags, ref uint64, key string, payload []byte) {
	l.out = append(unixipc.AppendHeader(l.out, t, flags, ref, key, len(payload)), payload...)
	l.more.Signal()
}

// take does what a frame asks for. Its error is the processor's fault.
func (l *link) take(f unixipc.Frame) error {
	if (f.Type == unixipc.Hello) == l.joined {
		return fmt.Errorf("unexpected %v", f.Type)
	}
	switch f.Type {
	case unixipc.Hello:
		return l.welcome(f)
	case unixipc.Verdict:
		if !l.hello.Authorize {
			return errors.New("VERDICT of a processor that was never asked")
		}
		var v unixipc.VerdictBody
		if err := unmarshal(f, &v); err != nil {
			return err
		}
		if said := l.asked[f.Ref]; said != nil {
			delete(l.asked, f.Ref)
			said <- v
		}
		l.checkDrained()
		return nil
	case unixipc.Watch:
		return l.watch(f)
	case unixipc.Stop:
		delete(l.watches, f.Ref)
		l.result(0, f, unixipc.StatusOK, "")
		return nil
	case unixipc.Tap:
		l.result(0, f, unixipc.StatusRefused, "messages are shown to operators only")
		return nil
	case unixipc.Drain:
		l.draining = true
		for _, ch := range l.gw.chargers {
			if ch.owner == l && ch.inFlight() == 0 {
				ch.moveFrom(l)
				ch.pump()
			}
		}
		l.checkDrained()
		return nil
	}

	ch := l.gw.chargers[string(f.Key)]
	if ch == nil { // never heard of: an order gets offline, a delivery is not the sender's
		ch = &charger{gw: l.gw, identity: string(f.Key)}
	}
	switch f.Type {
	case unixipc.Ack:
		if len(f.Payload) > l.gw.MaxMessage {
			return fmt.Errorf("reply of %d bytes is over the limit of %d", len(f.Payload), l.gw.MaxMessage)
		}
		if status := ch.ack(l, f); status != unixipc.StatusOK && len(f.Payload) > 0 {
			l.result(unixipc.ForDelivery, f, status, "")
		}
		return nil

	case unixipc.Nack:
		var body unixipc.NackBody
		if err := unmarshal(f, &body); err != nil {
			return err
		}
		ch.nack(l, f.Ref, time.Duration(body.RetryAfterMS)*time.Millisecond)
		return nil

	case unixipc.Send:
		if len(f.Payload) > l.gw.MaxMessage {
			return fmt.Errorf("message of %d bytes is over the limit of %d", len(f.Payload), l.gw.MaxMessage)
		}
		l.result(0, f, ch.order(Order{Payload: bytes.Clone(f.Payload), Binary: f.Flags&unixipc.Binary != 0}), "")
		return nil

	case unixipc.Close:
		var body unixipc.CloseBody
		if err := unmarshal(f, &body); err != nil {
			return err
		}
		if !mayClose(body.Code) || body.Drop && body.Code != 0 {
			l.result(0, f, unixipc.StatusRefused, fmt.Sprintf("code %d", body.Code))
			return nil
		}
		switch {
		case body.Drop:
			body.Code = 1006 // as the gateway reports it
		case body.Code == 0:
			body.Code = 1000
		}
		status := ch.order(Order{Close: &body})
		l.result(0, f, status, "")
		if status == unixipc.StatusOK {
			ch.close(body.Code, body.Reason, "processor")
		}
		return nil

	case unixipc.Call:
		ch.call(l, f)
		return nil
	}
	return fmt.Errorf("unexpected %v", f.Type)
}

// versionError is a HELLO of this version, which is not spoken.
type versionError uint64

func (v versionError) Error() string { return fmt.Sprint("protocol version ", uint64(v)) }

func (l *link) welcome(f unixipc.Frame) error {
	if f.Ref != unixipc.Version {
		return versionError(f.Ref)
	}
	if err := unmarshal(f, &l.hello); err != nil {
		return err
	}
	switch {
	case l.gw.refuse != "":
		return errors.New(l.gw.refuse)
	case !validName(l.hello.Name):
		return fmt.Errorf("name %q", l.hello.Name)
	case l.hello.Loop < 0 || l.hello.Loop >= l.gw.Loops:
		return fmt.Errorf("loop %d of %d", l.hello.Loop, l.gw.Loops)
	case l.hello.Window < 0 || l.hello.ChargerWindow < 0:
		return errors.New("negative window")
	}
	window := 256
	if l.hello.Window > 0 {
		window = min(l.hello.Window, 65536)
	}
	l.window = l.gw.ChargerWindow
	if l.hello.ChargerWindow > 0 {
		l.window = min(l.hello.ChargerWindow, l.window)
	}
	l.joined = true
	l.put(unixipc.Welcome, 0, unixipc.Version, "", mustJSON(unixipc.WelcomeBody{
		Gateway: "proctest", Instance: l.gw.instance(), Warnings: l.gw.warnings,
		Loops: l.gw.Loops, Window: window, ChargerWindow: l.window,
		MaxMessage: l.gw.MaxMessage, MaxNote: unixipc.MaxNote, AckTimeoutMS: 60_000,
		CallTimeoutMS: 30_000, MaxCallTimeoutMS: 600_000, CallQueue: 16,
	}))
	l.gw.join(l)
	return nil
}

// checkDrained sends DRAINED when a draining link has nothing left to do.
func (l *link) checkDrained() {
	if !l.draining || l.drained || len(l.asked) > 0 {
		return
	}
	for _, ch := range l.gw.chargers {
		if ch.owner == l && ch.inFlight() > 0 {
			return
		}
	}
	l.drained = true
	l.put(unixipc.Drained, 0, 0, "", nil)
}

func (l *link) result(flags unixipc.Flags, f unixipc.Frame, status unixipc.Status, detail string) {
	l.put(unixipc.Result, flags, f.Ref, string(f.Key), mustJSON(unixipc.ResultBody{Status: status, Detail: detail}))
}

// unmarshal reads the JSON of a control frame; none at all is all defaults.
func unmarshal(f unixipc.Frame, body any) error {
	if len(f.Payload) == 0 {
		return nil
	}
	if len(f.Payload) > unixipc.MaxControl {
		return fmt.Errorf("%v of %d bytes", f.Type, len(f.Payload))
	}
	if err := json.Unmarshal(f.Payload, body); err != nil {
		return fmt.Errorf("%v: %w", f.Type, err)
	}
	return nil
}

func validName(name string) bool {
	for i := range len(name) {
		if name[i] < ' ' || name[i] > '~' {
			return false
		}
	}
	return 1 <= len(name) && len(name) <= 64
}

// mayClose: the codes that docs/protocol.md allows in CLOSE.
func mayClose(code int) bool {
	switch code {
	case 0, 1000, 1001, 1003, 1008, 1011, 1012, 1013, 1014:
		return true
	}
	return 3000 <= code && code <= 4999
}
