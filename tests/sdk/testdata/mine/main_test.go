package main

import (
	"context"
	"strings"
	"testing"

	"holdfast/proc"
	"holdfast/proc/proctest"
)

func TestHeartbeat(t *testing.T) {
	gw := proctest.New(t)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- proc.Config{Opened: opened}.Run(ctx, gw.Socket(), handle) }()

	gw.Open("CP1", "ocpp1.6")
	reply, err := gw.Call(t.Context(), "CP1", []byte(`[2,"1","Heartbeat",{}]`))
	if err != nil || !strings.HasPrefix(string(reply), `[3,"1",{"currentTime":`) {
		t.Errorf("%s, %v", reply, err)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
