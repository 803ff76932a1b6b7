package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"holdfast/cmd/holdfast/admin"
)

func runStatus(i *invocation) error {
	if err := i.parse(); err != nil {
		return err
	}
	c, err := i.client()
	if err != nil {
		return err
	}
	var s admin.Status
	if err := c.Get("/status", nil, &s); err != nil {
		return err
	}
	switch {
	case i.json:
		return printJSON(i.stdout, s)
	case i.names:
		var names []string
		for _, l := range s.Links {
			if !l.Operator && !l.AskOnly {
				names = append(names, l.Processor)
			}
		}
		for _, name := range slices.Compact(names) { // they are sorted
			fmt.Fprintln(i.stdout, name)
		}
	default:
		printStatus(i.stdout, &s, time.Now())
	}
	return nil
}

func printJSON(w io.Writer, v any) error {
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	out.SetEscapeHTML(false)
	return out.Encode(v)
}

// printStatus shows the status to a person.
func printStatus(w io.Writer, s *admin.Status, now time.Time) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) { fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	serving := "serving"
	if s.ShuttingDown {
		serving = "shutting down"
	}
	line("gateway", "%s, process %d, %s for %s; this process for %s", s.Version, s.PID, serving, age(now.Sub(s.Since)), age(now.Sub(s.Started)))
	line("listening", "%s", strings.Join(s.Listen, ", "))
	line("connections", "%d of at most %d", s.Connections, s.Limit)
	switch s.Keeper {
	case admin.KeeperUp:
		line("keeper", "up: a crash of the gateway closes no connection")
	case admin.KeeperGone:
		line("keeper", "gone: a crash of the gateway would close every connection")
	}
	for _, k := range s.Kinds {
		tls := k.TLS
		if tls == admin.NoTLS {
			tls = "no TLS"
		}
		line("", "%d %s, %s", k.Connections, cmp.Or(k.Subprotocol, "without a subprotocol"), tls)
	}
	q := s.Queue
	if q.Messages == 0 {
		line("queue", "empty")
	} else {
		line("queue", "%d deliveries (%s) of %d chargers, %d of them with a processor; the oldest waits for %s", q.Messages, bytesText(q.Bytes), q.Chargers, q.InFlight, seconds(q.OldestSeconds))
	}
	if q.Paused > 0 {
		line("", "%d chargers are not read from until there is room", q.Paused)
	}
	if q.GivenBack > 0 {
		line("", "deliveries of %d chargers are given back (NACK) again and again", q.GivenBack)
	}
	if q.Offline > 0 {
		line("", "%d of the chargers are not connected any more", q.Offline)
	}
	for _, r := range q.Restless {
		line("", "%s has connected %d times in %s, and nobody took it: does it reboot?", printable(r.Identity), r.Connections, seconds(r.Seconds))
	}
	switch u := s.LastUpgrade; {
	case u == nil:
		line("last upgrade", "none")
	case u.Outcome == admin.OutcomeDone:
		line("last upgrade", "%s ago, done in %s with %d connections, pause %.1f ms", age(now.Sub(u.At)), seconds(u.TookSeconds), u.Connections, u.PauseMS)
	default:
		line("last upgrade", "%s ago, rolled back: %s", age(now.Sub(u.At)), printable(u.Reason))
	}
	for _, c := range s.Certificates {
		if left := c.Ends.Sub(now); left < 0 {
			line("certificate", "%s of %s has ended %s ago", printable(c.Subject), c.File, age(-left))
		} else if left < certificateSoon {
			line("certificate", "%s of %s ends in %s", printable(c.Subject), c.File, age(left))
		}
	}
	_ = t.Flush()
	fmt.Fprintln(w)
	if !slices.ContainsFunc(s.Links, func(l admin.LinkStatus) bool { return !l.AskOnly && !l.Operator }) {
		fmt.Fprintln(w, "No processor has joined: messages wait.")
	}
	if len(s.Links) == 0 {
		return
	}
	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "PROCESSOR\tPID\tUID\tLOOP\tCHARGERS\tIN FLIGHT\tWINDOW\tQUEUE\tUNREAD\t")
	for _, l := range s.Links {
		note := ""
		switch {
		case l.Operator:
			note = "operator"
		case l.AskOnly:
			note = "takes none"
		case l.Draining && l.InFlight == 0:
			note = "drained"
		case l.Draining:
			note = "draining"
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\n", l.Processor, l.PID, l.UID, l.Loop, l.Chargers, l.InFlight, l.Window, l.Queue, bytesText(l.Unwritten), note)
	}
	_ = t.Flush()
}

// certificateSoon is how long before its end status names a certificate.
const certificateSoon = 30 * 24 * time.Hour

// age is a duration as people say it, in at most two units.
func age(d time.Duration) string {
	d = max(0, d)
	switch {
	case d < time.Minute:
		return d.Round(time.Second).String()
	case d < time.Hour:
		return d.Round(time.Second).String()
	case d < 48*time.Hour:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	}
	hours := int(d.Hours())
	return fmt.Sprintf("%dd%dh", hours/24, hours%24)
}

func seconds(s float64) string {
	d := time.Duration(s * float64(time.Second))
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return age(d)
}

// bytesText is a number of bytes as people say it.
func bytesText(n int) string {
	switch {
	case n < 10<<10:
		return fmt.Sprintf("%d B", n)
	case n < 10<<20:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d MiB", n>>20)
}

// printable is s without what a terminal could take for an order: what chargers
// and processors say is not to be trusted.
func printable(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case strconv.IsPrint(r):
			b.WriteRune(r)
		default:
			q := strconv.QuoteRune(r)
			b.WriteString(q[1 : len(q)-1])
		}
		s = s[n:]
	}
	return b.String()
}
