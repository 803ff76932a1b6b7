package main

import (
	"context"
	"encoding/json"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"holdfast/proc"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	c := proc.Config{Name: "mine", Opened: opened}
	if err := c.Run(ctx, os.Args[1], handle); err != nil {
		log.Fatal(err)
	}
}

func opened(_ context.Context, ch *proc.Charger, o proc.OpenedBody) {
	log.Print(ch, " is connected from ", o.Remote)
}

func handle(_ context.Context, _ *proc.Charger, m proc.Message) ([]byte, error) {
	var call []any // OCPP-J: [2, "id", "Action", {…}]
	if json.Unmarshal(m.Payload, &call) != nil || len(call) != 4 || call[2] != "Heartbeat" {
		return nil, nil // acknowledged, not answered
	}
	now := time.Now().UTC().Format(time.RFC3339)
	return json.Marshal([]any{3, call[1], map[string]string{"currentTime": now}})
}
