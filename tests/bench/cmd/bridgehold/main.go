// Bridgehold measures what an idle charger takes in holdfast-bridge: memory, with the
// charger's connection to a central system open. One message of each passes first, so that
// everything that is made when it is needed has been made.
//
//	bridgehold -holdfast bin/holdfast -bridge bin/holdfast-bridge -echo bin/echo
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"holdfast/tests/bench/load"
	"holdfast/tests/bench/procfs"
	"holdfast/tests/bench/sut"
)

// aim is how many KiB a charger may take.
const aim = 40

func main() {
	if err := mainErr(); err != nil {
		fmt.Fprintln(os.Stderr, "bridgehold:", err)
		os.Exit(1)
	}
}

func mainErr() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	beside := filepath.Dir(self)
	var programs sut.Programs
	flag.StringVar(&programs.Holdfast, "holdfast", filepath.Join(beside, "holdfast"), "`path` of the gateway")
	flag.StringVar(&programs.Bridge, "bridge", filepath.Join(beside, "holdfast-bridge"), "`path` of the bridge")
	flag.StringVar(&programs.Echo, "echo", filepath.Join(beside, "echo"), "`path` of cmd/echo, the central system")
	chargers := flag.Int("chargers", 8000, "connections")
	settle := flag.Duration("settle", 60*time.Second, "they are idle for so long before memory is read")
	flag.Parse()
	runtime.GOMAXPROCS(1)
	programs.HoldfastArgs = []string{"-ping-interval", "0"}

	dir, err := os.MkdirTemp("", "bridgehold-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s, err := sut.Start("holdfast", programs, 0, dir)
	if err != nil {
		return err
	}
	defer s.Stop()
	pid := s.PID("holdfast-bridge")
	before, err := procfs.ReadMemory(pid)
	if err != nil {
		return err
	}
	fleet, err := load.Connect(load.Config{Addr: s.Addr, Path: "/ocpp/", Prefix: "M-", Subprotocol: "ocpp1.6", Chargers: *chargers, Sources: 2})
	if err != nil {
		return err
	}
	defer fleet.Abandon()
	if _, err := load.Run(fleet, load.Plan{Mode: load.Open, Rate: *chargers / 10, Size: 200, Answers: true, Duration: 12 * time.Second}); err != nil {
		return err
	}
	result, err := load.Run(fleet, load.Plan{Mode: load.Idle, Size: 200, Duration: *settle, Watch: []int{pid}})
	if err != nil {
		return err
	}
	after, err := procfs.ReadMemory(pid)
	if err != nil {
		return err
	}
	each := float64(after.PSS-before.PSS) / 1024 / float64(*chargers)
	verdict := "met"
	if each > aim {
		verdict = "MISSED"
	}
	fmt.Printf("holdfast-bridge, %d idle chargers connected to a central system: %.1f MiB, %.1f KiB each (aim ≤ %d: %s), %.2f %% of a core\n",
		*chargers, float64(after.PSS)/(1<<20), each, aim, verdict, 100*result.SystemCPU/result.Seconds)
	return fleet.Close()
}
