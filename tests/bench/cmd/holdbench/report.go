package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"holdfast/tests/bench/procfs"
	"holdfast/tests/bench/sut"
)

// Report is everything that was measured.
type Report struct {
	Machine  sut.Machine `json:"machine"`
	System   string      `json:"system"`
	TLS      bool        `json:"tls"`
	Chargers int         `json:"chargers"`
	Quiet    Part        `json:"quiet"`
	Pinging  *Part       `json:"pinging,omitempty"`
}

// aim is how many bytes an idle connection may cost, and aimTLS over wss.
const (
	aim    = 512
	aimTLS = 1024
)

func (r Report) print(w io.Writer) {
	fmt.Fprint(w, "\n", r.Machine, "\n")
	over, aim := "ws", int64(aim)
	if r.TLS {
		over, aim = "wss", aimTLS
	}
	fmt.Fprintf(w, "%d idle %s connections to %s; memory is PSS, its growth over the empty process\n\n", r.Chargers, over, r.System)
	parts := []Part{r.Quiet}
	if r.Pinging != nil {
		parts = append(parts, *r.Pinging)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(label string, of func(p Part) string) {
		fmt.Fprintf(t, "%s\t", label)
		for _, p := range parts {
			fmt.Fprintf(t, "%s\t", of(p))
		}
		fmt.Fprintln(t)
	}
	each := func(m procfs.Memory, p Part) string {
		return fmt.Sprintf("%d bytes each (%.1f MiB)", r.each(m, p), mib(m.Sub(p.Empty).PSS))
	}
	line("pings", func(p Part) string {
		if p.PingSeconds == 0 {
			return "off"
		}
		return fmt.Sprintf("each %.0f s", p.PingSeconds)
	})
	line("connected in", func(p Part) string {
		return fmt.Sprintf("%.1f s, CPU %.0f µs each", p.ConnectSeconds, 1e6*p.ConnectCPU/float64(r.Chargers))
	})
	line("empty process", func(p Part) string { return fmt.Sprintf("%.1f MiB", mib(p.Empty.PSS)) })
	line("peak, connecting", func(p Part) string { return each(p.Peak, p) })
	line("all connected", func(p Part) string { return each(p.Connected, p) })
	line("settled", func(p Part) string { return each(p.Settled, p) })
	line("  of it heap, stacks", func(p Part) string { return fmt.Sprintf("%.1f MiB", mib(p.Settled.Sub(p.Empty).Anon)) })
	line("  of it the program", func(p Part) string { return fmt.Sprintf("%.1f MiB", mib(p.Settled.Sub(p.Empty).File)) })
	line("  after", func(p Part) string {
		if p.StillMoving {
			return fmt.Sprintf("%.0f s, still moving", p.SettleSeconds)
		}
		return fmt.Sprintf("%.0f s", p.SettleSeconds)
	})
	line("after the time idle", func(p Part) string { return each(p.End, p) })
	line("CPU used, idle", func(p Part) string {
		return fmt.Sprintf("%.1f ms in %.0f s (%.3f %% of a core)", 1e3*p.Idle.SystemCPU, p.Idle.Seconds,
			100*p.Idle.SystemCPU/p.Idle.Seconds)
	})
	line("pings answered", func(p Part) string { return fmt.Sprint(p.Idle.Pings) })
	line("connections lost", func(p Part) string { return fmt.Sprint(p.Idle.Errors) })
	verdict := func(p Part) string {
		if r.each(p.Settled, p) <= aim {
			return "met"
		}
		return "MISSED"
	}
	line(fmt.Sprintf("aim: ≤ %d bytes each", aim), verdict)
	t.Flush()
}

// each is the growth of m over the empty process, for one connection.
func (r Report) each(m procfs.Memory, p Part) int64 {
	return m.Sub(p.Empty).PSS / int64(r.Chargers)
}

func (r Report) err() error {
	for _, p := range []*Part{&r.Quiet, r.Pinging} {
		if p != nil && p.Idle.Errors > 0 {
			return fmt.Errorf("%d connections lost, the first: %s", p.Idle.Errors, p.Idle.FirstError)
		}
	}
	return nil
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }
