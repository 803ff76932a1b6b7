package proc_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"holdfast/proc"
	"holdfast/proc/proctest"
	"holdfast/unixipc"
)

// Every reply that is not written is reported with its delivery and the reason.
func TestReplyFailed(t *testing.T) {
	type failure struct {
		identity string
		delivery uint64
		err      error
	}
	ctx, gw := testContext(t), proctest.Config{MaxMessage: 100}.New(t)
	failures := make(chan failure, 10)
	deliveries := make(chan uint64, 10)
	c := proc.Config{
		Counters: new(proc.Counters),
		ReplyFailed: func(_ context.Context, ch *proc.Charger, delivery uint64, err error) {
			failures <- failure{ch.Identity(), delivery, err}
		},
	}
	start(t, gw, c, func(_ context.Context, ch *proc.Charger, m proc.Message) ([]byte, error) {
		deliveries <- m.Delivery
		switch string(m.Payload) {
		case "long":
			return make([]byte, 101), nil
		case "close":
			return []byte("reply"), ch.Close(ctx, 1000, "")
		}
		return []byte("reply"), nil
	})
	refused := func(why string) func(error) bool {
		return func(err error) bool {
			r, ok := errors.AsType[*proc.RefusedError](err)
			return ok && r.What == "ACK" && strings.Contains(r.Why, why)
		}
	}
	is := func(want error) func(error) bool {
		return func(err error) bool { return errors.Is(err, want) }
	}
	for n, tt := range []struct {
		payload string
		status  proctest.Status
		reason  func(error) bool
	}{
		{"long", "", refused("101 bytes are over the gateway's limit of 100")},
		{"full", proctest.StatusFull, is(proc.ErrFull)},
		{"not UTF-8", proctest.StatusRefused, refused("")},
		{"offline", proctest.StatusOffline, is(proc.ErrOffline)},
		{"close", "", is(proc.ErrClosed)},
	} {
		identity := fmt.Sprint("CP", n)
		gw.Open(identity, "")
		gw.FailReplies(identity, tt.status)
		gw.Message(identity, []byte(tt.payload))
		delivery := receive(t, ctx, deliveries)
		f := receive(t, ctx, failures)
		if f.identity != identity || f.delivery != delivery || delivery == 0 || !tt.reason(f.err) {
			t.Errorf("%s, delivery %d: %+v", tt.payload, delivery, f)
		}
		if got := c.Counters.RepliesFailed.Load(); got != uint64(n)+1 {
			t.Errorf("%d counted", got)
		}
	}
}

// The report of a reply outlives the link that it came over: the gateway says it
// once.
func TestReplyFailedOnLostLink(t *testing.T) {
	ctx := testContext(t)
	socket, gateway := mute(t)
	began, release := make(chan bool, 1), make(chan bool)
	failed := make(chan uint64, 1)
	startOn(t, socket, proc.Config{
		ReplyFailed: func(_ context.Context, _ *proc.Charger, delivery uint64, _ error) { failed <- delivery },
	}, func(_ context.Context, _ *proc.Charger, m proc.Message) ([]byte, error) {
		if string(m.Payload) == "block" {
			began <- true
			<-release
		}
		return []byte("reply"), nil
	})
	conn := receive(t, ctx, gateway)
	conn.welcome()
	conn.put(unixipc.Frame{Type: unixipc.Message, Ref: 1, Key: []byte("CP1"), Payload: []byte("x")})
	conn.get()
	conn.put(unixipc.Frame{Type: unixipc.Message, Ref: 2, Key: []byte("CP1"), Payload: []byte("block")})
	receive(t, ctx, began)
	conn.put(unixipc.Frame{
		Type: unixipc.Result, Flags: unixipc.ForDelivery, Ref: 1, Key: []byte("CP1"),
		Payload: []byte(`{"status":"closed"}`),
	})
	conn.Close()
	receive(t, ctx, gateway).welcome() // the former link is forgotten
	release <- true
	if delivery := receive(t, ctx, failed); delivery != 1 {
		t.Errorf("delivery %d", delivery)
	}
}

// An acknowledgement cannot carry an empty message; a SEND can, and it is written
// before the reply of the same handler.
func TestEmptyMessage(t *testing.T) {
	ctx, gw := testContext(t), proctest.New(t)
	start(t, gw, proc.Config{}, func(ctx context.Context, ch *proc.Charger, m proc.Message) ([]byte, error) {
		if string(m.Payload) == "send" {
			return nil, ch.Send(ctx, nil, m.Binary)
		}
		return []byte{}, nil
	})
	gw.Open("CP1", "")
	for _, payload := range []string{"reply", "send"} {
		if reply, err := gw.Call(ctx, "CP1", []byte(payload)); err != nil || reply != nil {
			t.Errorf("%s: reply %q, %v", payload, reply, err)
		}
	}
	o, err := gw.Order(ctx, "CP1")
	if err != nil || o.Close != nil || len(o.Payload) != 0 {
		t.Errorf("order %+v, %v", o, err)
	}
	once, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if o, err := gw.Order(once, "CP1"); err == nil {
		t.Errorf("an empty reply was written: %+v", o)
	}
}

// A window for each charger, and what the gateway says of the HELLO.
func TestWelcome(t *testing.T) {
	ctx, gw := testContext(t), proctest.New(t)
	gw.Warn("ocpp9.9 is not spoken here")
	var log lines
	joined := make(chan proc.WelcomeBody, 1)
	start(t, gw, proc.Config{
		ChargerWindow: 1, Subprotocols: []string{"ocpp9.9"},
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Joined: func(w proc.WelcomeBody) { joined <- w },
	}, echo)
	w := receive(t, ctx, joined)
	if w.ChargerWindow != 1 || w.Instance != gw.Instance() || len(w.Warnings) != 1 || w.Warnings[0] != "ocpp9.9 is not spoken here" {
		t.Errorf("WELCOME %+v", w)
	}
	if got := log.String(); !strings.Contains(got, "level=WARN") || !strings.Contains(got, "ocpp9.9 is not spoken here") {
		t.Errorf("logged %s", got)
	}
}

// Faults of the gateway's frames name charger and delivery.
func TestFaultNamesDelivery(t *testing.T) {
	ctx := testContext(t)
	socket, gateway := mute(t)
	var log lines
	startOn(t, socket, proc.Config{
		Opened: func(context.Context, *proc.Charger, proc.OpenedBody) {},
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	}, echo)
	for _, tt := range []struct {
		frame unixipc.Frame
		want  string
	}{
		{unixipc.Frame{Type: unixipc.Message, Ref: 7, Key: []byte("CP1"), Payload: make([]byte, 1<<20+9)}, `MESSAGE 7 of \"CP1\"`},
		{unixipc.Frame{Type: unixipc.Result, Ref: 8, Key: []byte("CP1"), Payload: []byte("{")}, `RESULT 8 of \"CP1\"`},
		{unixipc.Frame{Type: unixipc.Opened, Ref: 9, Key: []byte("CP1"), Payload: []byte("{")}, `frame=OPENED charger=CP1 delivery=9`},
	} {
		conn := receive(t, ctx, gateway)
		conn.welcome()
		conn.Write(tt.frame.Append(nil)) // the processor may close before it has read a long one
		for ctx.Err() == nil && !strings.Contains(log.String(), tt.want) {
			time.Sleep(time.Millisecond)
		}
		if got := log.String(); !strings.Contains(got, tt.want) {
			t.Errorf("%s is not in %s", tt.want, got)
		}
		conn.Close()
	}
}
