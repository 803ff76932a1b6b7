// Soak upgrades a gateway 100 times under load while processors restart at random,
// and exits with 1 if chargers noticed anything or something has grown.
//
//	soak -holdfast bin/holdfast
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"holdfast/tests/harness"
	"holdfast/tests/upgrade/soak"
)

func main() {
	c := soak.Config{Out: os.Stdout}
	flag.StringVar(&c.Binaries.Holdfast, "holdfast", "bin/holdfast", "path of the gateway's binary")
	flag.StringVar(&c.Binaries.Checkproc, "checkproc", "", "path of tests/cmd/checkproc, built; none: it is built first")
	flag.IntVar(&c.Upgrades, "upgrades", 100, "how many")
	flag.IntVar(&c.Chargers, "n", 2000, "chargers")
	flag.Float64Var(&c.Rate, "rate", 1000, "messages of all chargers together, per second")
	flag.DurationVar(&c.Every, "every", 2*time.Second, "from one upgrade to the next")
	flag.IntVar(&c.Loops, "loops", 1, "loops of the gateway")
	flag.Uint64Var(&c.Seed, "seed", uint64(time.Now().UnixNano()), "of the restarts")
	limit := flag.Duration("limit", 10*time.Minute, "for all of it")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, *limit)
	defer cancel()
	if err := run(ctx, c); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, c soak.Config) error {
	dir, err := os.MkdirTemp("", "holdfast-soak-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	c.Dir = dir
	if c.Binaries.Checkproc == "" {
		if c.Binaries.Checkproc, err = harness.BuildCheckproc(dir); err != nil {
			return err
		}
	}
	fmt.Printf("seed %d\n", c.Seed)
	r, err := soak.Run(ctx, c)
	r.Summary(os.Stdout)
	if err != nil {
		return err
	}
	return r.Check()
}
