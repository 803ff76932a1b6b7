package proc_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"holdfast/proc"
	"holdfast/proc/proctest"
)

// Replies that come after the Handler has returned: in order, one message at a time, with
// no worker that waits; one that fails comes again.
func TestLater(t *testing.T) {
	ctx, gw := testContext(t), proctest.New(t)
	type waiting struct {
		m      proc.Message
		answer func([]byte, error)
	}
	came := make(chan waiting, 100)
	stop := start(t, gw, proc.Config{Concurrency: 1}, func(_ context.Context, _ *proc.Charger, m proc.Message) ([]byte, error) {
		answer, later := m.Later()
		came <- waiting{m, answer}
		return nil, later
	})
	gw.Open("CP1", "")
	gw.Open("CP2", "")
	first, second, other := gw.Message("CP1", []byte("1")), gw.Message("CP1", []byte("2")), gw.Message("CP2", []byte("3"))
	a, b := receive(t, ctx, came), receive(t, ctx, came) // one of each: CP1's second waits
	if string(a.m.Payload)+string(b.m.Payload) != "13" && string(a.m.Payload)+string(b.m.Payload) != "31" {
		t.Fatalf("%s and %s come first", a.m.Payload, b.m.Payload)
	}
	for _, w := range []waiting{a, b} {
		w.answer(fmt.Append(nil, "re:", string(w.m.Payload)), nil)
	}
	c := receive(t, ctx, came)
	c.answer(nil, proc.RetryAfter(errors.New("not now"), time.Millisecond))
	c = receive(t, ctx, came)
	if string(c.m.Payload) != "2" || !c.m.Redelivered {
		t.Errorf("given back, it comes as %+v", c.m)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	time.Sleep(10 * time.Millisecond) // Run must wait for it, however this turns out
	c.answer([]byte("re:2"), nil)
	for d, want := range map[*proctest.Delivery]string{first: "re:1", second: "re:2", other: "re:3"} {
		if reply, err := d.Reply(ctx); err != nil || string(reply) != want {
			t.Errorf("%q, %v instead of %q", reply, err, want)
		}
	}
	if err := receive(t, ctx, stopped); err != nil {
		t.Error(err)
	}
}

// Answers that come before, while and after the Handler returns.
func TestLaterRace(t *testing.T) {
	ctx, gw := testContext(t), proctest.New(t)
	start(t, gw, proc.Config{}, func(_ context.Context, _ *proc.Charger, m proc.Message) ([]byte, error) {
		answer, later := m.Later()
		switch len(m.Payload) % 3 {
		case 0:
			answer(m.Payload, nil)
		case 1:
			go answer(m.Payload, nil)
		default:
			time.AfterFunc(time.Millisecond, func() { answer(m.Payload, nil) })
		}
		return nil, later
	})
	var all sync.WaitGroup
	for n := range 20 {
		identity := fmt.Sprint("CP", n)
		gw.Open(identity, "")
		all.Go(func() {
			var sent []*proctest.Delivery
			for i := range 50 {
				sent = append(sent, gw.Message(identity, make([]byte, i+1)))
			}
			for i, d := range sent {
				if reply, err := d.Reply(ctx); err != nil || len(reply) != i+1 {
					t.Errorf("%d bytes, %v instead of %d", len(reply), err, i+1)
				}
			}
		})
	}
	all.Wait()
}

// Orders that do not wait have their outcome told, in the order of the orders; the
// message ids of a CALL stay as they are.
func TestOrdersLater(t *testing.T) {
	ctx, gw := testContext(t), proctest.New(t)
	chargers := make(chan *proc.Charger, 1)
	stop := start(t, gw, proc.Config{Opened: func(_ context.Context, ch *proc.Charger, _ proc.OpenedBody) { chargers <- ch }}, echo)
	gw.Open("CP1", "")
	ch := receive(t, ctx, chargers)
	outcomes := make(chan string, 10)
	ch.SendLater([]byte("x"), true, func(err error) { outcomes <- fmt.Sprint("sent ", err) })
	if o, err := gw.Order(ctx, "CP1"); err != nil || string(o.Payload) != "x" || !o.Binary {
		t.Errorf("%+v, %v", o, err)
	}
	if got := receive(t, ctx, outcomes); got != "sent <nil>" {
		t.Error(got)
	}
	gw.CloseCharger("CP1", 1000, "")
	ch.CallLater([]byte(`[2,"a","Reset",{}]`), time.Second, func(answer []byte, err error) {
		outcomes <- fmt.Sprint(string(answer), " ", errors.Is(err, proc.ErrOffline), errors.Is(err, proc.ErrNotSent))
	})
	if got := receive(t, ctx, outcomes); got != " true true" {
		t.Error(got)
	}
	_ = stop()
	ch.SendLater(nil, false, func(err error) { outcomes <- fmt.Sprint(err) })
	if got := receive(t, ctx, outcomes); got != proc.ErrNoLink.Error() {
		t.Error(got)
	}
}
