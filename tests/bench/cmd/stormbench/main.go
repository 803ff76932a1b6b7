// Stormbench (make bench-storm) measures what the chargers that are held notice while
// thousands connect over wss at once, as after a power cut: the answer times of 200
// chargers, without and during a storm. The storm is made by a process of its own with
// the lowest priority, so that the measurement does not wait for it.
//
//	stormbench -holdfast bin/holdfast -echo bin/echo [-chargers 10000]
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"text/tabwriter"
	"time"

	"holdfast/tests/bench/load"
	"holdfast/tests/bench/sut"
)

// held chargers send rate messages a second together.
const (
	held = 200
	rate = 400
)

func main() {
	if err := mainErr(); err != nil {
		fmt.Fprintln(os.Stderr, "stormbench:", err)
		os.Exit(1)
	}
}

func mainErr() error {
	programs := sut.Programs{TLS: true}
	flag.StringVar(&programs.Holdfast, "holdfast", "bin/holdfast", "`path` of the gateway")
	flag.StringVar(&programs.Echo, "echo", "bin/echo", "`path` of cmd/echo")
	chargers := flag.Int("chargers", 10_000, "that connect at once")
	length := flag.Duration("length", 12*time.Second, "of the measurement; the storm begins with it")
	storm := flag.String("storm", "", "be the storm on this `address`")
	flag.Parse()
	if *storm != "" {
		return rage(*storm, *chargers)
	}
	fmt.Println(sut.ThisMachine("nginx"))
	dir, err := os.MkdirTemp("", "stormbench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s, err := sut.Start("holdfast", programs, 0, dir)
	if err != nil {
		return err
	}
	defer s.Stop()
	fleet, err := load.Connect(load.Config{Addr: s.Addr, Path: "/ocpp/", Prefix: "H-", Subprotocol: "ocpp1.6", Chargers: held, TLS: true})
	if err != nil {
		return err
	}
	defer fleet.Abandon()
	plan := load.Plan{Mode: load.Open, Rate: rate, Size: 200, WarmUp: 500 * time.Millisecond, Duration: 5 * time.Second}
	ordinary, err := load.Run(fleet, plan)
	if err != nil {
		return err
	}
	cmd := exec.Command("nice", "-n", "19", os.Args[0], "-storm", s.Addr, "-chargers", strconv.Itoa(*chargers))
	cmd.Stderr = os.Stderr
	took := make(chan time.Duration, 1)
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() {
		if cmd.Wait() == nil {
			took <- time.Since(began)
		}
		close(took)
	}()
	plan.Duration = *length
	during, err := load.Run(fleet, plan)
	if err != nil {
		return err
	}
	all, ok := <-took
	if !ok {
		return fmt.Errorf("the storm failed")
	}
	if all > *length {
		fmt.Fprintf(os.Stderr, "the storm took %v, longer than the measurement: its beginning was measured\n", all.Round(time.Second))
	}
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "chargers held\tp50\tp99\tmax\tconnect at once\tp50\tp99\tmax\tall are in after\tlost")
	fmt.Fprintf(out, "%d\t%.2f ms\t%.2f ms\t%.2f ms\t%d\t%.2f ms\t%.2f ms\t%.2f ms\t%v\t%d\n", held,
		ordinary.P50/1000, ordinary.P99/1000, ordinary.Max/1000, *chargers, during.P50/1000, during.P99/1000, during.Max/1000,
		all.Round(100*time.Millisecond), ordinary.Errors+during.Errors+held-fleet.Len())
	fmt.Fprintln(out, "aim\t\t\t\t\t\t≤ 20 ms")
	return out.Flush()
}

// rage connects all chargers from few addresses, as many at once as they may.
func rage(addr string, chargers int) error {
	fleet, err := load.Connect(load.Config{
		Addr: addr, Path: "/ocpp/", Prefix: "S-", Subprotocol: "ocpp1.6", Chargers: chargers, Sources: 4, Dialers: 512, TLS: true,
	})
	if err != nil {
		return err
	}
	fleet.Abandon()
	return nil
}
