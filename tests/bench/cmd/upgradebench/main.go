// Upgradebench (make bench-upgrade) measures what chargers see of an upgrade:
// connections that send 2,000 messages a second together, through a few seconds
// without an upgrade and a few with one, in turn. The pause is the longest
// answer time with an upgrade, beyond the longest without.
//
// With -half so many more chargers are amid a message of 16 MiB: 1 MiB of it
// has been received, and the rest trickles in.
//
//	upgradebench -holdfast bin/holdfast -echo bin/echo [-chargers 15000,1500]
//	upgradebench -holdfast bin/holdfast -echo bin/echo -chargers 100 -half 200 -length 12s
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"holdfast/tests/bench/load"
	"holdfast/tests/bench/sut"
)

func main() {
	if err := mainErr(); err != nil {
		fmt.Fprintln(os.Stderr, "upgradebench:", err)
		os.Exit(1)
	}
}

// bench is what is measured, for one number of chargers.
type bench struct {
	programs sut.Programs
	chargers int
	half     int // chargers amid a long message
	rate     int
	rounds   int
	length   time.Duration
}

func mainErr() error {
	var b bench
	flag.StringVar(&b.programs.Holdfast, "holdfast", "bin/holdfast", "`path` of the gateway")
	flag.StringVar(&b.programs.Echo, "echo", "bin/echo", "`path` of cmd/echo")
	counts := flag.String("chargers", "15000,1500", "connections held, comma-separated")
	flag.BoolVar(&b.programs.TLS, "tls", false, "over wss, TLS 1.3")
	flag.IntVar(&b.half, "half", 0, "`chargers` more that are amid a long message")
	flag.IntVar(&b.rate, "rate", 2000, "messages per second of all together")
	flag.IntVar(&b.rounds, "rounds", 5, "upgrades")
	flag.DurationVar(&b.length, "length", 3*time.Second, "of a round without an upgrade, and of one with")
	flag.Parse()
	fmt.Println(sut.ThisMachine("nginx"))
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "connections\tordinary p50\tp99\tmax\tmax with an upgrade\tpause seen\tpause of the gateway\twhole upgrade\tlost")
	for count := range strings.SplitSeq(*counts, ",") {
		var err error
		if b.chargers, err = strconv.Atoi(count); err != nil {
			return fmt.Errorf("-chargers: %w", err)
		}
		if err := b.run(out); err != nil {
			return err
		}
	}
	if b.half > 0 {
		fmt.Fprintln(out, "aim\t\t\t\t\t\t≤ 20 ms")
	} else {
		fmt.Fprintln(out, "aim\t\t\t\t\t≤ 10 ms\t\t≤ 1 s")
	}
	return out.Flush()
}

func (b bench) run(out *tabwriter.Writer) (err error) {
	dir, err := os.MkdirTemp("", "upgradebench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b.programs.HoldfastArgs = []string{"-ping-interval", "0"}
	if b.half > 0 {
		b.programs.HoldfastArgs = append(b.programs.HoldfastArgs, "-max-message", "16MiB", "-queue-bytes", "16MiB", "-buffer-bytes", "8GiB")
	}
	s, err := sut.Start("holdfast", b.programs, 0, dir)
	if err != nil {
		return err
	}
	defer s.Stop()
	found, err := filepath.Glob(filepath.Join(dir, "holdfast-*", "pid"))
	if err != nil || len(found) != 1 {
		return fmt.Errorf("pid file of the gateway: %v, %w", found, err)
	}
	defer endCurrent(found[0])
	admin := filepath.Join(filepath.Dir(found[0]), "admin.sock")

	fleet, err := load.Connect(load.Config{
		Addr: s.Addr, Path: "/ocpp/", Prefix: "U-", Subprotocol: "ocpp1.6", Chargers: b.chargers, Sources: 4, TLS: b.programs.TLS,
	})
	if err != nil {
		return err
	}
	defer fleet.Abandon()
	trickle, err := load.StartTrickle(load.Config{
		Addr: s.Addr, Path: "/ocpp/", Prefix: "T-", Subprotocol: "ocpp1.6", Chargers: b.half, TLS: b.programs.TLS,
	}, halfReceived)
	if err != nil {
		return err
	}
	defer trickle.Close()
	var p50, p99, longest, with, pauses, took []float64
	lost := 0
	for range b.rounds {
		plan := load.Plan{Mode: load.Open, Rate: b.rate, Size: 200, WarmUp: 500 * time.Millisecond, Duration: b.length}
		ordinary, err := load.Run(fleet, plan)
		if err != nil {
			return err
		}
		done := make(chan upgraded, 1)
		go func() {
			time.Sleep(plan.WarmUp + b.length/3)
			done <- b.upgrade(admin)
		}()
		during, err := load.Run(fleet, plan)
		if err != nil {
			return err
		}
		u := <-done
		if u.err != nil {
			return u.err
		}
		if end := b.length/3 + time.Duration(u.took*float64(time.Millisecond)); end > b.length {
			fmt.Fprintf(os.Stderr, "the upgrade took %.0f ms: its pause was not seen; a longer -length would show it\n", u.took)
		}
		p50, p99 = append(p50, ordinary.P50/1000), append(p99, ordinary.P99/1000)
		longest, with = append(longest, ordinary.Max/1000), append(with, during.Max/1000)
		pauses, took = append(pauses, u.pause), append(took, u.took)
		fmt.Fprintf(os.Stderr, "%d connections: longest answer %.2f ms without, %.2f ms with an upgrade; pause %.2f ms\n", b.chargers, ordinary.Max/1000, during.Max/1000, u.pause)
		lost += ordinary.Errors + during.Errors
	}
	if err := trickle.Err(); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d\t%.2f ms\t%.2f ms\t%.2f ms\t%.2f ms (worst %.2f)\t%.2f ms\t%.2f ms (worst %.2f)\t%.0f ms (worst %.0f)\t%d\n",
		b.chargers, median(p50), median(p99), median(longest), median(with), slices.Max(with),
		max(0, median(with)-median(longest)), median(pauses), slices.Max(pauses), median(took), slices.Max(took), lost+b.chargers-fleet.Len())
	return fleet.Close()
}

// halfReceived is what those amid a message send: 20 KiB a second each, as over a
// poor mobile network.
var halfReceived = load.TricklePlan{Message: 16 << 20, Half: 1 << 20, Piece: 1 << 10, Every: 50 * time.Millisecond}

// upgraded is what the gateway said of one upgrade, in milliseconds.
type upgraded struct {
	pause, took float64
	err         error
}

var (
	pauseText = regexp.MustCompile(`pause ([0-9.]+) ms`)
	takenText = regexp.MustCompile(`([0-9.]+)s  the new process has taken over`)
)

func (b bench) upgrade(admin string) (u upgraded) {
	out, err := exec.Command(b.programs.Holdfast, "upgrade", "-admin-socket", admin).CombinedOutput()
	if err != nil {
		return upgraded{err: fmt.Errorf("upgrade: %w: %s", err, out)}
	}
	pause, taken := pauseText.FindSubmatch(out), takenText.FindSubmatch(out)
	if pause == nil || taken == nil {
		return upgraded{err: fmt.Errorf("upgrade: no figures in %q", bytes.TrimSpace(out))}
	}
	u.pause, err = strconv.ParseFloat(string(pause[1]), 64)
	seconds, err2 := strconv.ParseFloat(string(taken[1]), 64)
	u.took, u.err = seconds*1000, errors.Join(err, err2)
	return u
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// endCurrent ends the gateway that serves now: a child's child of ours.
func endCurrent(pidFile string) {
	text, err := os.ReadFile(pidFile)
	if err != nil {
		return
	}
	if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
		_ = syscall.Kill(pid, syscall.SIGTERM)
	}
}
