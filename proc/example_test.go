package proc_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"holdfast/proc"
	"holdfast/proc/proctest"
)

// A processor that answers heartbeats, and the gateway of its test.
func ExampleRun() {
	heartbeat := func(_ context.Context, ch *proc.Charger, m proc.Message) ([]byte, error) {
		var call []any // OCPP-J: [2, "id", "Action", {…}]
		if json.Unmarshal(m.Payload, &call) != nil || len(call) != 4 || call[2] != "Heartbeat" {
			return nil, nil // acknowledged, not answered
		}
		return json.Marshal([]any{3, call[1], map[string]string{"currentTime": "2026-01-31T12:00:00Z"}})
	}

	gw, err := proctest.Config{}.Start() // in a program: the gateway
	if err != nil {
		fmt.Println(err)
		return
	}
	defer gw.Stop()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- proc.Run(ctx, gw.Socket(), heartbeat) }()

	gw.Open("CP1", "ocpp1.6")
	reply, err := gw.Call(ctx, "CP1", []byte(`[2,"a1","Heartbeat",{}]`))
	fmt.Printf("%s %v\n", reply, err)

	cancel() // in a program: SIGTERM
	fmt.Println(<-done)
	// Output:
	// [3,"a1",{"currentTime":"2026-01-31T12:00:00Z"}] <nil>
	// <nil>
}

// A web API asks a charger to do something for its user. The error answers the
// user's question: is the charger away, silent, or unwilling?
func ExampleClient_Call() {
	gw, err := proctest.Config{}.Start() // in a program: the gateway
	if err != nil {
		fmt.Println(err)
		return
	}
	defer gw.Stop()
	gw.OnCall(func(_, action string, _ json.RawMessage) (json.RawMessage, error) {
		if action != "RemoteStartTransaction" {
			return nil, &proctest.CallError{Code: "NotSupported"}
		}
		return json.RawMessage(`{"status":"Accepted"}`), nil
	})
	gw.Open("CP1", "ocpp1.6")

	client, err := proc.Dial(context.Background(), proc.ClientConfig{Name: "api", Socket: gw.Socket()})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	ask := func(identity, action, payload string) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		answer, err := client.Call(ctx, identity, action, json.RawMessage(payload))
		refused, unwilling := errors.AsType[*proc.CallError](err)
		switch {
		case err == nil:
			fmt.Printf("%s answered %s\n", identity, answer)
		case unwilling:
			fmt.Printf("%s refused: %s\n", identity, refused.Code)
		case errors.Is(err, proc.ErrOffline):
			fmt.Printf("%s is not connected\n", identity)
		case errors.Is(err, proc.ErrTimeout):
			fmt.Printf("%s is connected and does not answer\n", identity)
		default:
			fmt.Println(err)
		}
	}
	ask("CP1", "RemoteStartTransaction", `{"idTag":"045A"}`)
	ask("CP1", "Reset", `{"type":"Soft"}`)
	ask("CP2", "Reset", `{"type":"Soft"}`)
	// Output:
	// CP1 answered {"status":"Accepted"}
	// CP1 refused: NotSupported
	// CP2 is not connected
}

// A dashboard follows which chargers are connected.
func ExampleClient_Watch() {
	gw, err := proctest.Config{}.Start() // in a program: the gateway
	if err != nil {
		fmt.Println(err)
		return
	}
	defer gw.Stop()
	gw.Open("CP1", "ocpp1.6")

	client, err := proc.Dial(context.Background(), proc.ClientConfig{Name: "dashboard", Socket: gw.Socket()})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	err = client.Watch(ctx, "CP*", func(c proc.Change) {
		switch {
		case c.Opened != nil:
			fmt.Println(c.Opened.Identity, "is connected with", c.Opened.Subprotocol)
		case c.All:
			fmt.Println("these are all")
			gw.CloseCharger("CP1", 1001, "restart") // in a program: what chargers do
		case c.Closed != nil:
			fmt.Println(c.Closed.Identity, "has left:", c.Closed.Code, c.Closed.Reason)
			cancel()
		}
	})
	fmt.Println(err)
	// Output:
	// CP1 is connected with ocpp1.6
	// these are all
	// CP1 has left: 1001 restart
	// context canceled
}
