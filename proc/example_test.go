package proc_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
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

	gw, err := proctest.Config{}.Start()
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

// A web API calls a charger for its user.
func ExampleClient() {
	ctx := context.Background()
	gateway, err := proc.Dial(ctx, proc.ClientConfig{Name: "api", Socket: "/run/holdfast/processors.sock"})
	if err != nil {
		log.Fatal(err)
	}
	defer gateway.Close()

	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	answer, err := gateway.Call(ctx, "CP000001", "RemoteStartTransaction", json.RawMessage(`{"idTag":"045A"}`))
	switch {
	case errors.Is(err, proc.ErrOffline):
		log.Print("the charger is not connected")
	case errors.Is(err, proc.ErrTimeout):
		log.Print("the charger is connected, and does not answer")
	case err != nil:
		log.Print(err)
	default:
		log.Printf("the charger says %s", answer)
	}
}
