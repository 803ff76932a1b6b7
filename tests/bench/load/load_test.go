package load_test

import (
	"path/filepath"
	"testing"
	"time"

	"holdfast/tests/bench/load"
	"holdfast/tests/bench/peer"
)

func TestRunsAgainstTheEcho(t *testing.T) {
	fd, addr, err := peer.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go peer.Echo(fd) // until the test binary ends
	for _, plan := range []load.Plan{
		{Mode: load.Closed, Size: 200},
		{Mode: load.Open, Rate: 1000, Size: 60_000},
		{Mode: load.Idle, Size: 200},
	} {
		t.Run(string(plan.Mode), func(t *testing.T) {
			plan.WarmUp, plan.Duration = 20*time.Millisecond, 200*time.Millisecond
			f, err := load.Connect(load.Config{
				Addr: addr, Path: "/ocpp/", Subprotocol: "ocpp1.6", Chargers: 50, Sources: 3,
			})
			if err != nil {
				t.Fatal(err)
			}
			r, err := load.Run(f, plan)
			if err != nil {
				t.Fatal(err)
			}
			if r.Errors > 0 || f.Len() != 50 {
				t.Fatalf("%d errors, the first: %s; %d chargers left", r.Errors, r.FirstError, f.Len())
			}
			if (r.Messages > 0) != (plan.Mode != load.Idle) {
				t.Fatalf("%d messages", r.Messages)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestNobodyListens(t *testing.T) {
	if _, err := load.Connect(load.Config{Addr: "127.0.0.1:1", Chargers: 3}); err == nil {
		t.Fatal("connected to nothing")
	}
	if _, _, err := peer.Listen(filepath.Join(t.TempDir(), "no", "such", "folder")); err == nil {
		t.Fatal("listens nowhere")
	}
}
