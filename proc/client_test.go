package proc_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"holdfast/proc"
	"holdfast/proc/proctest"
	"holdfast/unixipc"
)

func client(t *testing.T, gw *proctest.Gateway) *proc.Client {
	t.Helper()
	c, err := proc.Dial(t.Context(), proc.ClientConfig{Name: "client", Socket: gw.Socket()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func TestCall(t *testing.T) {
	gw := proctest.Config{Loops: 3}.New(t)
	gw.Open("CP1", "ocpp1.6")
	gw.Open("mute", "ocpp1.6")
	gw.Open("full", "ocpp1.6")
	gw.Answer("full", unixipc.StatusFull)
	gw.OnCall(func(identity, action string, payload json.RawMessage) (json.RawMessage, error) {
		switch {
		case identity == "mute":
			return nil, proctest.ErrNoAnswer
		case action == "Reset":
			return nil, &proctest.CallError{Code: "NotSupported", Description: "no", Details: json.RawMessage(`{"a":1}`)}
		}
		return json.RawMessage(fmt.Sprintf(`{"you said":%s}`, payload)), nil
	})
	c := client(t, gw)
	hellos, err := gw.WaitLinks(t.Context(), 3)
	if err != nil || !hellos[0].AskOnly {
		t.Fatalf("%+v, %v", hellos, err)
	}
	got, err := c.Call(t.Context(), "CP1", "GetConfiguration", json.RawMessage(`{"key":["x"]}`))
	if err != nil || string(got) != `{"you said":{"key":["x"]}}` {
		t.Errorf("%s, %v", got, err)
	}
	if got, err = c.Call(t.Context(), "CP1", "GetConfiguration", nil); err != nil || string(got) != `{"you said":{}}` {
		t.Errorf("%s, %v", got, err)
	}
	_, err = c.Call(t.Context(), "CP1", "Reset", nil)
	if e, ok := errors.AsType[*proc.CallError](err); !ok || e.Code != "NotSupported" || e.Description != "no" || string(e.Details) != `{"a":1}` {
		t.Errorf("%v", err)
	}
	for _, tt := range []struct {
		identity string
		want     error
		sent     bool
	}{{"mute", proc.ErrTimeout, true}, {"nobody", proc.ErrOffline, false}, {"full", proc.ErrFull, false}} {
		_, err := c.Call(t.Context(), tt.identity, "Reset", nil)
		if !errors.Is(err, tt.want) || errors.Is(err, proc.ErrNotSent) == tt.sent || !strings.Contains(err.Error(), "call Reset at "+tt.identity) {
			t.Errorf("%s: %v", tt.identity, err)
		}
	}
	if _, err := c.Call(t.Context(), "CP1", "Reset", json.RawMessage("{")); err == nil {
		t.Error("bad JSON goes out")
	}
	if _, err := c.Call(t.Context(), strings.Repeat("x", 256), "Reset", nil); err == nil {
		t.Error("an identity that is too long goes out")
	}
	if err := c.Send(t.Context(), "CP1", []byte("hi")); err != nil {
		t.Error(err)
	}
	if o, err := gw.Order(t.Context(), "CP1"); err != nil || string(o.Payload) != "hi" {
		t.Errorf("%v, %v", o, err)
	}
	if err := c.Disconnect(t.Context(), "CP1", 1000, "enough"); err != nil {
		t.Error(err)
	}
	if err := c.Disconnect(t.Context(), "CP1", 1000, "enough"); !errors.Is(err, proc.ErrOffline) {
		t.Error(err)
	}
}

func TestDialFails(t *testing.T) {
	if _, err := proc.Dial(t.Context(), proc.ClientConfig{Name: "c", Socket: "/nowhere/at/all"}); err == nil {
		t.Error("no gateway, no error")
	}
	gw := proctest.New(t)
	gw.Refuse("we do not know you")
	if _, err := proc.Dial(t.Context(), proc.ClientConfig{Name: "c", Socket: gw.Socket()}); err == nil || !strings.Contains(err.Error(), "know you") {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	dialing := make(chan struct{})
	go func() { <-dialing; cancel() }()
	_, err := proc.Dial(ctx, proc.ClientConfig{Name: "c", Dial: func(ctx context.Context) (net.Conn, error) {
		close(dialing)
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A handler may call its own charger, and any other, even with one worker.
func TestCallFromHandler(t *testing.T) {
	gw := proctest.New(t)
	gw.OnCall(func(identity, _ string, _ json.RawMessage) (json.RawMessage, error) {
		return json.RawMessage(`"` + identity + `"`), nil
	})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- proc.Config{Name: "p", Concurrency: 1}.Run(ctx, gw.Socket(), func(ctx context.Context, ch *proc.Charger, _ proc.Message) ([]byte, error) {
			return ch.Call(ctx, "Reset", nil)
		})
	}()
	gw.Open("CP1", "")
	if got, err := gw.Call(t.Context(), "CP1", []byte("x")); err != nil || string(got) != `"CP1"` {
		t.Errorf("%s, %v", got, err)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestListAndWatch(t *testing.T) {
	gw := proctest.Config{Loops: 2}.New(t)
	for i := range 20 {
		gw.Open(fmt.Sprintf("CP%02d", i), "ocpp1.6")
	}
	gw.Open("other", "")
	c := client(t, gw)
	held, err := c.List(t.Context(), "CP*")
	if err != nil || len(held) != 20 || held[3].Identity != "CP03" || held[3].Subprotocol != "ocpp1.6" {
		t.Fatalf("%+v, %v", held, err)
	}
	if _, err := c.List(t.Context(), "["); err == nil {
		t.Error("a bad glob is taken")
	}

	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	var told []string
	all := make(chan struct{})
	more := make(chan struct{}, 100)
	done := make(chan error, 1)
	go func() {
		done <- c.Watch(ctx, "CP1?", func(ch proc.Change) {
			mu.Lock()
			defer mu.Unlock()
			switch {
			case ch.All:
				close(all)
			case ch.Opened != nil:
				told = append(told, "+"+ch.Opened.Identity)
			default:
				told = append(told, "-"+ch.Closed.Identity)
			}
			more <- struct{}{}
		})
	}()
	<-all
	for range 11 {
		<-more
	}
	mu.Lock()
	slices.Sort(told)
	if want := "[+CP10 +CP11 +CP12 +CP13 +CP14 +CP15 +CP16 +CP17 +CP18 +CP19]"; fmt.Sprint(told) != want {
		t.Errorf("%v", told)
	}
	told = nil
	mu.Unlock()
	gw.CloseCharger("CP11", 1001, "")
	gw.CloseCharger("CP05", 1001, "")
	gw.Open("CP11", "")
	<-more
	<-more
	// Changes while there is no link are reported when there is one again.
	gw.DropLinks()
	gw.CloseCharger("CP12", 1001, "")
	gw.CloseCharger("CP13", 1001, "")
	gw.Open("CP13", "")
	for range 3 {
		<-more
	}
	mu.Lock()
	slices.Sort(told)
	if want := "[+CP11 +CP13 -CP11 -CP12 -CP13]"; fmt.Sprint(told) != want {
		t.Errorf("%v", told)
	}
	mu.Unlock()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := c.Tap(t.Context(), "*", func(proc.Tapped) {}); err == nil || !strings.Contains(err.Error(), "operators only") {
		t.Error(err)
	}
}
