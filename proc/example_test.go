package proc_test

import (
	"context"
	"encoding/json"
	"fmt"

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
