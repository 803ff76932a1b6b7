// Demo shows what Holdfast is for: it starts a gateway, two processors and 2,000
// chargers, half of them over wss, kills and replaces processors under load, and ends with a table of
// what the chargers noticed. It exits with 1 if that is more than nothing.
//
//	demo -holdfast bin/holdfast -processor bin/processor
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
const limit = 60 * time.Second

func main() {
	var (
		holdfast  = flag.String("holdfast", "bin/holdfast", "path of the gateway's binary")
		processor = flag.String("processor", "bin/processor", "path of the processor's binary")
		chargers  = flag.Int("n", 2000, "chargers, half over ws and half over wss, half OCPP 1.6 and half 2.0.1")
		rate      = flag.Float64("rate", 2000, "messages of all chargers together, per second")
		quiet     = flag.Bool("q", false, "no progress lines")
	)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	s := stage{holdfast: *holdfast, processor: *processor, chargers: *chargers, rate: *rate, quiet: *quiet, began: time.Now()}
	if err := s.perform(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}
