// Demobridge shows what holdfast-bridge is for: 500 chargers, half of them over wss, before
// a central system that is killed and comes back, while the bridge is released, the
// gateway is upgraded, and a part of the chargers gets another central system. It ends
// with a table of what the chargers and the central systems have seen, and exits with 1
// if that is more than nothing.
//
//	demobridge -holdfast bin/holdfast -bridge bin/holdfast-bridge
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// limit is how long the whole demonstration may take.
const limit = 90 * time.Second

func main() {
	s := stage{began: time.Now()}
	flag.StringVar(&s.holdfast, "holdfast", "bin/holdfast", "path of the gateway's binary")
	flag.StringVar(&s.bridge, "bridge", "bin/holdfast-bridge", "path of the bridge's binary")
	flag.StringVar(&s.central, "central", "bin/central", "path of the central system's binary, tests/cmd/central")
	flag.IntVar(&s.chargers, "n", 500, "chargers, half over ws and half over wss, half OCPP 1.6 and half 2.0.1")
	flag.Float64Var(&s.rate, "rate", 500, "messages of all chargers together, per second")
	flag.Float64Var(&s.calls, "calls", 50, "CALLs of each central system to chargers, per second")
	flag.BoolVar(&s.quiet, "q", false, "no progress lines")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := s.perform(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo-bridge:", err)
		os.Exit(1)
	}
}
