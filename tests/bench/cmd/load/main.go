// Load is a fleet of WebSocket chargers in one thread.
//
//	taskset -c 1 load -addr 127.0.0.1:9000 -chargers 100
//	taskset -c 1 load -addr 127.0.0.1:9000 -chargers 100 -mode open -rate 2000
//	taskset -c 1 load -addr 127.0.0.1:9000 -chargers 1      # ping-pong
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"holdfast/tests/bench/load"
)

func main() {
	if err := mainErr(); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func mainErr() error {
	var fleet load.Config
	var plan load.Plan
	flag.StringVar(&fleet.Addr, "addr", "", "`host:port` of the server, IPv4")
	flag.StringVar(&fleet.Path, "path", "/ocpp/", "`path` before the identity")
	flag.StringVar(&fleet.Prefix, "prefix", fmt.Sprintf("L%d-", os.Getpid()), "start of each identity")
	flag.StringVar(&fleet.Subprotocol, "subprotocol", "ocpp1.6", "the only subprotocol offered")
	flag.IntVar(&fleet.Chargers, "chargers", 100, "connections")
	flag.IntVar(&fleet.Sources, "sources", 0, "spread over so many source addresses 127.0.0.2…")
	flag.BoolVar(&fleet.TLS, "tls", false, "over wss, TLS 1.3")
	mode := flag.String("mode", string(load.Closed), "closed, open or idle")
	flag.IntVar(&plan.Rate, "rate", 2000, "open: messages per second, all chargers together")
	flag.BoolVar(&plan.Answers, "answers", false, "the server is a central system, and no echo")
	flag.IntVar(&plan.Size, "size", 200, "bytes of a message")
	flag.DurationVar(&plan.WarmUp, "warmup", 500*time.Millisecond, "not measured")
	flag.DurationVar(&plan.Duration, "duration", 3*time.Second, "measured")
	watch := flag.String("watch", "", "`pids` whose CPU time is measured, comma-separated")
	flag.IntVar(&plan.Core, "core", 0, "core that they are pinned to")
	asJSON := flag.Bool("json", false, "print JSON")
	flag.Parse()
	plan.Mode = load.Mode(*mode)
	for _, s := range strings.FieldsFunc(*watch, func(r rune) bool { return r == ',' }) {
		pid, err := strconv.Atoi(s)
		if err != nil {
			return fmt.Errorf("-watch: %w", err)
		}
		plan.Watch = append(plan.Watch, pid)
	}
	runtime.GOMAXPROCS(1)

	f, err := load.Connect(fleet)
	if err != nil {
		return err
	}
	result, err := load.Run(f, plan)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if *asJSON {
		return json.NewEncoder(os.Stdout).Encode(result)
	}
	fmt.Print(result)
	return nil
}
