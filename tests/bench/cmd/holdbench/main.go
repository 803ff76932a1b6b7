// Holdbench (make bench-hold) measures what an idle connection costs the gateway:
// its memory, and its CPU time with and without pings. The gateway is on CPU 0;
// the chargers and the processor are in this process, on CPU 1.
//
//	holdbench -holdfast bin/holdfast
//	holdbench -system bare      # the same with the bare echo, to prove the tool
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/tests/bench/sut"
)

// systemCore and loadCore are the CPUs of the gateway and of the chargers.
const (
	systemCore = 0
	loadCore   = 1
)

func main() {
	if err := mainErr(); err != nil {
		fmt.Fprintln(os.Stderr, "holdbench:", err)
		os.Exit(1)
	}
}

func mainErr() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	beside := filepath.Dir(self)
	var h hold
	flag.StringVar(&h.programs.Holdfast, "holdfast", filepath.Join(beside, "holdfast"), "`path` of the gateway")
	flag.StringVar(&h.programs.Echo, "echo", filepath.Join(beside, "echo"), "`path` of cmd/echo, for -system bare")
	args := flag.String("holdfast-args", "", "more `flags` for holdfast serve, space-separated")
	flag.StringVar(&h.system, "system", "holdfast", "holdfast or bare")
	flag.BoolVar(&h.programs.TLS, "tls", false, "over wss, TLS 1.3")
	flag.IntVar(&h.chargers, "chargers", 15000, "connections")
	flag.IntVar(&h.sources, "sources", 4, "source addresses 127.0.0.2… they come from")
	flag.DurationVar(&h.stable, "stable", 10*time.Second, "memory is settled when it has not changed for so long")
	flag.DurationVar(&h.settle, "settle", 150*time.Second, "wait no longer than this for that")
	flag.DurationVar(&h.idle, "idle", 30*time.Second, "CPU time is taken over so long, without pings")
	flag.DurationVar(&h.ping, "ping", time.Minute, "ping interval of the second part, and its length; 0: no second part")
	jsonPath := flag.String("json", "", "write everything measured to this `file`")
	flag.Parse()
	h.args = strings.Fields(*args)

	if err := enoughFiles(h.chargers); err != nil {
		return err
	}
	if err := pin(loadCore); err != nil {
		return err
	}
	runtime.GOMAXPROCS(1)
	if h.dir, err = os.MkdirTemp("", "holdbench-"); err != nil {
		return err
	}
	defer os.RemoveAll(h.dir)

	report := Report{Machine: sut.ThisMachine("nginx"), System: h.system, TLS: h.programs.TLS, Chargers: h.chargers}
	if report.Quiet, err = h.part(0, h.idle); err != nil {
		return err
	}
	if h.ping > 0 && h.system == "holdfast" {
		pings, err := h.part(h.ping, h.ping)
		if err != nil {
			return err
		}
		report.Pinging = &pings
	}
	report.print(os.Stdout)
	if *jsonPath != "" {
		out, err := json.MarshalIndent(report, "", "\t")
		if err != nil {
			return err
		}
		if err := os.WriteFile(*jsonPath, append(out, '\n'), 0o644); err != nil {
			return err
		}
	}
	return report.err()
}

// spare is how many files a process needs besides its connections.
const spare = 100

func enoughFiles(chargers int) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("read limit of open files: %w", err)
	}
	if limit.Max < uint64(chargers+spare) {
		return fmt.Errorf("%d chargers need a limit of open files of %d (ulimit -Hn), not %d", chargers, chargers+spare, limit.Max)
	}
	return nil
}

// pin moves all threads of this process to one core; later ones inherit it.
func pin(core int) error {
	var set unix.CPUSet
	set.Set(core)
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, task := range tasks {
		tid, err := strconv.Atoi(task.Name())
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(tid, &set); err != nil {
			return fmt.Errorf("pin to CPU %d: %w", core, err)
		}
	}
	return nil
}
