package crash

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"holdfast/tests/killat"
	"holdfast/tests/raw"
)

// exchange is something that happens between chargers, gateway and processors.
type exchange struct {
	name    string
	prepare func(*rig) error // before anything is counted
	run     func(*rig) error
}

func nothing(*rig) error { return nil }

// over is an exchange with the charger of one transport.
func over(name, transport string, run func(*charger) error) exchange {
	return exchange{name + "/" + transport, nothing, func(r *rig) error { return run(r.chargers[transport]) }}
}

// message: a charger sends a message, and gets its answer.
func message(transport string) exchange { return over("message", transport, (*charger).message) }

// called: a charger is called, and the caller gets the answer.
func called(transport string) exchange {
	return over("call", transport, func(c *charger) error {
		return c.calledWith(`{"vendorId":"test"}`, c.call)
	})
}

// calledWith has the charger called; meanwhile it does what do does.
func (c *charger) calledWith(payload string, do func() error) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	type result struct {
		answer json.RawMessage
		err    error
	}
	done := make(chan result, 1)
	c.r.at("a processor CALLs a charger")
	go func() {
		answer, err := c.r.caller.Call(ctx, c.identity(), "DataTransfer", json.RawMessage(payload))
		done <- result{answer, err}
	}()
	if err := do(); err != nil {
		return err
	}
	c.r.at("a caller waits for its answer")
	switch got := <-done; {
	case got.err != nil:
		return fmt.Errorf("the CALL: %w", got.err)
	case !strings.Contains(string(got.answer), c.identity()):
		return fmt.Errorf("the CALL is answered with %s", got.answer)
	}
	return nil
}

// fragmented: a message of 200 KB comes in eight frames with a ping between them.
func fragmented(transport string) exchange {
	return over("fragmented", transport, func(c *charger) error {
		id := c.next()
		whole := `[2,"` + id + `","DataTransfer",{"vendorId":"test","data":"` + strings.Repeat("x", 200_000) + `"}]`
		const parts = 8
		size := (len(whole) + parts - 1) / parts
		for i := range parts {
			c.r.at(fmt.Sprintf("a charger sends part %d of a message", i+1))
			op, part := byte(raw.OpContinuation), whole[i*size:min((i+1)*size, len(whole))]
			switch i {
			case 0:
				op = raw.OpText
			case parts / 2:
				part2 := raw.Masked(raw.Fin|raw.OpPing, "amid")
				if err := c.write(part2); err != nil {
					return err
				}
			case parts - 1:
				op |= raw.Fin
			}
			if err := c.write(raw.Masked(op, part)); err != nil {
				return err
			}
			time.Sleep(time.Millisecond) // each is read alone
		}
		c.r.at("a charger waits for its pong")
		if payload, err := c.read(raw.OpPong); err != nil || payload != "amid" {
			return fmt.Errorf("pong %q: %w", payload, err)
		}
		c.r.at("a charger waits for its answer")
		return c.answered(id)
	})
}

// stalled: a charger does not read, so that a CALL of 200 KB is written in parts.
func stalled(transport string) exchange {
	return passing("stalled", transport, func(c *charger) error {
		payload := `{"vendorId":"test","data":"` + strings.Repeat("y", 200_000) + `"}`
		return c.calledWith(payload, func() error {
			c.r.at("a charger does not read")
			until := time.Now().Add(patience)
			for before, at := 0, time.Now(); before == 0 || time.Since(at) < 10*time.Millisecond; time.Sleep(time.Millisecond) {
				if n := c.held(); n != before {
					before, at = n, time.Now()
				}
				if time.Now().After(until) {
					return errors.New("lost: nothing comes")
				}
			}
			c.r.at("a charger reads at last")
			return c.call()
		})
	})
}

// passing is an exchange with a charger that has connected before and goes after it.
func passing(name, transport string, run func(*charger) error) exchange {
	var c *charger
	return exchange{
		name + "/" + transport,
		func(r *rig) error {
			c = r.newCharger(transport)
			if err := c.dialTo(r, 4096); err != nil {
				return err
			}
			if err := c.message(); err != nil {
				return err
			}
			time.Sleep(3 * time.Millisecond)
			return nil
		},
		func(r *rig) error {
			err := run(c)
			_ = c.nc.Close()
			return err
		},
	}
}

// dialTo connects to the gateway that serves.
func (c *charger) dialTo(r *rig, buffer int) error {
	addr, addrTLS, _ := r.serving()
	if c.transport != "ws" {
		addr = addrTLS
	}
	return c.dial(addr, buffer)
}

// connect: a charger connects, and sends a message. A handshake may fail, and so may a
// connection of which the gateway has not taken anything.
func connect(transport string) exchange {
	return exchange{"connect/" + transport, nothing, func(r *rig) error {
		c := r.newCharger(transport)
		id := c.next()
		for until := time.Now().Add(patience); ; {
			_, _, deaths := r.serving()
			r.at("a charger connects")
			err := c.dialTo(r, 0)
			if err == nil {
				r.at("a charger sends its first message")
				if err = c.write(raw.Text(`[2,"` + id + `","BootNotification",{"chargePointModel":"m","chargePointVendor":"v"}]`)); err == nil {
					r.at("a charger waits for its first answer")
					err = c.answered(id)
				}
			}
			if err == nil {
				_ = c.nc.Close()
				return nil
			}
			if c.nc != nil {
				_ = c.nc.Close()
			}
			if time.Now().After(until) || !r.diedSince(deaths) {
				return err
			}
		}
	}}
}

// closing: a charger sends a Close frame.
func closing(transport string) exchange {
	return passing("close", transport, func(c *charger) error {
		c.r.at("a charger sends a Close frame")
		if err := c.write(raw.Masked(raw.Fin|raw.OpClose, raw.Closing(1000, "bye"))); err != nil {
			return err
		}
		return c.closes(1000)
	})
}

// closes reads a Close frame, and the end.
func (c *charger) closes(code int) error {
	c.r.at("a charger waits for the Close frame")
	payload, err := c.read(raw.OpClose)
	if err != nil {
		return err
	}
	if len(payload) < 2 || int(payload[0])<<8|int(payload[1]) != code {
		return fmt.Errorf("the Close frame has %q", payload)
	}
	c.r.at("a charger waits for the end of the connection")
	return c.closed()
}

// disconnected: a processor has a charger disconnected.
func disconnected(transport string) exchange {
	return passing("disconnect", transport, func(c *charger) error {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		done := make(chan error, 1)
		c.r.at("a processor has a charger disconnected")
		go func() { done <- c.r.caller.Disconnect(ctx, c.identity(), 1001, "test") }()
		payload, err := c.read(raw.OpClose)
		if err != nil {
			return err
		}
		c.r.at("a charger answers the Close frame")
		if err := c.write(raw.Masked(raw.Fin|raw.OpClose, payload)); err != nil {
			return err
		}
		c.r.at("a charger waits for the end of the connection")
		if err := c.closed(); err != nil {
			return err
		}
		return <-done
	})
}

// burst: all chargers send several messages at once.
func burst() exchange {
	const each = 4
	return exchange{"burst", nothing, func(r *rig) error {
		ids := map[string][]string{}
		r.at("all chargers send")
		for i := range each {
			for _, transport := range transports {
				c := r.chargers[transport]
				id := c.next()
				ids[transport] = append(ids[transport], id)
				if err := c.write(raw.Text(`[2,"` + id + `","MeterValues",{"connectorId":` + fmt.Sprint(i) + `}]`)); err != nil {
					return err
				}
			}
		}
		r.at("all chargers wait for their answers")
		for _, transport := range transports {
			for _, id := range ids[transport] {
				if err := r.chargers[transport].answered(id); err != nil {
					return fmt.Errorf("%s: %w", transport, err)
				}
			}
		}
		return nil
	}}
}

// joining: another processor joins and leaves.
func joining() exchange {
	return exchange{"join", nothing, func(r *rig) error {
		for {
			_, _, deaths := r.serving()
			r.at("a processor joins")
			p, err := r.dialProcessor("passing")
			if err == nil {
				r.at("a processor leaves")
				_ = p.Close()
				return nil
			}
			if !r.diedSince(deaths) {
				return err
			}
		}
	}}
}

// enumeration is a test that kills at each system call of exchanges.
type enumeration struct {
	t      *testing.T
	r      *rig
	points int
	faults int
	calls  map[string]int // points by call
	began  time.Time
}

func newEnumeration(t *testing.T) *enumeration {
	return &enumeration{t: t, r: newRig(t), calls: map[string]int{}, began: time.Now()}
}

// thorough says whether everything is asked for.
func thorough() bool { return os.Getenv("HOLDFAST_KILLS") == "all" }

const maxFaults = 5 // of one exchange

// fault tells one, and begins with new processes.
func (e *enumeration) fault(t *testing.T, name, at string, err error) {
	t.Helper()
	e.faults++
	t.Errorf("%s, killed at %s: %v\n%s", name, at, err, e.r.story())
	e.r = newRig(e.t)
}

// A doing runs something under an order; see rig.do.
type doing func(killat.Order) (*point, []killat.Call, error)

// count runs something without a kill, and returns how often each kind of call was made.
func (e *enumeration) count(t *testing.T, name string, do doing) kinds {
	t.Helper()
	k := kinds{most: map[string]int{}}
	for range 3 {
		_, calls, err := do(killat.Order{N: -1})
		if errors.Is(err, errNoPtrace) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatalf("%s, without a kill: %v\n%s", name, err, e.r.story())
		}
		k.add(calls)
	}
	t.Logf("%s: %v", name, k)
	return k
}

// kinds are calls, in the order in which they were first seen.
type kinds struct {
	names []string
	most  map[string]int // of one run
}

func (k *kinds) add(calls []killat.Call) {
	for _, c := range calls {
		if k.most[c.Kind()] == 0 {
			k.names = append(k.names, c.Kind())
		}
		k.most[c.Kind()] = max(k.most[c.Kind()], c.Nth)
	}
}

func (k kinds) String() string {
	var b strings.Builder
	for _, name := range k.names {
		fmt.Fprintf(&b, "%d %s, ", k.most[name], name)
	}
	return strings.TrimSuffix(b.String(), ", ")
}

// each kills before and after each call of an exchange.
func (e *enumeration) each(t *testing.T, x exchange) {
	e.enumerate(t, x.name, func(o killat.Order) (*point, []killat.Call, error) { return e.r.do(x, o) },
		killat.Before, killat.After)
}

// enumerate kills at each call of something.
func (e *enumeration) enumerate(t *testing.T, name string, do doing, whens ...killat.When) {
	k := e.count(t, name, do)
	faults := e.faults
	for _, kind := range k.names {
		for n := 1; ; n++ {
			over := true
			for _, when := range whens {
				o := killat.Order{When: when, Kind: kind, N: n}
				at, _, err := do(o)
				what := fmt.Sprintf("%+v", o)
				if at != nil {
					over = false
					what = at.String()
					e.points++
					e.calls[at.Kind()]++
					t.Logf("%s: %s", name, what)
				}
				if err != nil {
					e.fault(t, name, what, err)
				}
				if e.faults >= faults+maxFaults {
					t.Fatalf("%d faults: no more of this exchange", maxFaults)
				}
			}
			if over && n > k.most[kind] {
				break
			}
		}
	}
}

// done tells what was done.
func (e *enumeration) done() {
	s, err := e.r.tap.Check(e.r.keyLog)
	if err != nil {
		e.t.Errorf("on the wire: %v", err)
	}
	e.t.Logf("on the wire: %d connections, %d records opened; no nonce twice", s.Connections, s.Records)
	e.t.Logf("%d points, %d faults, in %v: %v", e.points, e.faults, time.Since(e.began).Round(time.Millisecond), e.calls)
}

// Points are counted in the log of -v, and listed there. With HOLDFAST_KILLS=all everything is
// done, which takes a quarter of an hour.

// TestEveryCall kills the gateway before and after each system call that matters of
// exchanges with chargers and processors, which must end as if nothing had happened.
func TestEveryCall(t *testing.T) {
	all := []exchange{message("ws"), called("tls13")}
	if thorough() {
		all = []exchange{burst(), joining()}
		for _, transport := range transports {
			all = append(all, message(transport), called(transport), fragmented(transport), stalled(transport),
				connect(transport), closing(transport), disconnected(transport))
		}
	}
	e := newEnumeration(t)
	for _, x := range all {
		t.Run(x.name, func(t *testing.T) { e.each(t, x) })
	}
	e.done()
}
