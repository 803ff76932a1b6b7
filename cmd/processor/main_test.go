package main

import (
	"context"
	"errors"
	"flag"
	"strings"
	"testing"
	"time"

	"holdfast/proc/proctest"
)

func TestOptions(t *testing.T) {
	for _, tt := range []struct{ args, why string }{
		{"-socket /run/x/p.sock", ""},
		{"-socket p.sock -name a -state /var/lib/x -interval 60s -off DataTransfer,Reset -log-format json -log-level debug", ""},
		{"", "-socket"},
		{"-socket p.sock extra", "unexpected"},
		{"-socket p.sock -interval 0s", "-interval"},
		{"-socket p.sock -interval 1500ms", "-interval"},
		{"-socket p.sock -off Heartbeet", "Heartbeet"},
		{"-socket p.sock -log-format xml", "-log-format"},
		{"-socket p.sock -log-level loud", "-log-level"},
		{"-bogus", "bogus"},
	} {
		var help strings.Builder
		_, err := parseOptions(strings.Fields(tt.args), &help)
		switch {
		case tt.why == "" && err != nil:
			t.Errorf("%q: %v", tt.args, err)
		case tt.why != "" && (err == nil || !strings.Contains(err.Error(), tt.why)):
			t.Errorf("%q: error %v, want one about %s", tt.args, err, tt.why)
		}
	}
}

func TestHelp(t *testing.T) {
	var help strings.Builder
	if _, err := parseOptions([]string{"-h"}, &help); !errors.Is(err, flag.ErrHelp) {
		t.Fatal(err)
	}
	for _, want := range []string{"usage: processor -socket", "-name", "-state", "-interval", "-off", "-log-format"} {
		if !strings.Contains(help.String(), want) {
			t.Errorf("the help says nothing of %s", want)
		}
	}
}

// The whole program but its signals, against a fake gateway.
func TestRun(t *testing.T) {
	gw := proctest.New(t)
	o, err := parseOptions([]string{"-socket", gw.Socket(), "-name", "p1", "-state", t.TempDir()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	deadline, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	ctx, leave := context.WithCancel(deadline)
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, o, discard) }()

	for v, subprotocol := range subprotocols {
		gw.Open(charger(v), subprotocol)
		for name, payload := range requests[v] {
			reply, err := gw.Call(deadline, charger(v), []byte(call(name, payload)))
			if err != nil {
				t.Fatal(err)
			}
			answer(t, string(reply))
		}
		if reply, err := gw.Call(deadline, charger(v), []byte(`[3,"x",{}]`)); err != nil || reply != nil {
			t.Errorf("CALLRESULT answered with %q, %v", reply, err)
		}
		if _, err := gw.CloseCharger(charger(v), 1001, "").Reply(deadline); err != nil {
			t.Error(err)
		}
	}
	if hellos, err := gw.WaitLinks(deadline, 1); err != nil || hellos[0].Name != "p1" {
		t.Errorf("joined as %v, %v", hellos, err)
	}
	leave()
	if err := <-ended; err != nil {
		t.Errorf("ended with %v", err)
	}
	if _, err := gw.WaitLinks(deadline, 0); err != nil {
		t.Error(err)
	}
}

func TestRunWithoutState(t *testing.T) {
	o := options{socket: "p.sock", state: t.TempDir() + "/gone"}
	if err := run(t.Context(), o, discard); err == nil || !strings.Contains(err.Error(), "-state") {
		t.Errorf("error %v, want one that names -state", err)
	}
}

func TestStateNextToTheSocket(t *testing.T) {
	o, err := parseOptions([]string{"-socket", "/run/holdfast/p.sock"}, nil)
	if err != nil || o.state != "/run/holdfast" {
		t.Errorf("state %q, %v", o.state, err)
	}
}
