package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"
)

// runUpgrade has the running gateway replace itself, and shows how it goes: a
// progress bar on a terminal, lines otherwise. It reads the same configuration
// as serve does, for the path of the admin socket.
func runUpgrade(args []string, stdout io.Writer) error {
	c, faults := parseConfig(args)
	if c.admin == "" {
		return configError(faults)
	}
	// Other faults of the configuration are for the new process to report: it
	// is the one that refuses them.
	client := http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", c.admin)
		},
	}}
	resp, err := client.Post("http://gateway/upgrade", "", nil)
	for until := time.Now().Add(askAgain); replaced(resp, err) && time.Now().Before(until); {
		if err == nil {
			_ = resp.Body.Close()
		}
		time.Sleep(10 * time.Millisecond)
		resp, err = client.Post("http://gateway/upgrade", "", nil)
	}
	if err != nil {
		return fmt.Errorf("no gateway answers at %s: %w", c.admin, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the gateway answered %s", resp.Status)
	}
	return show(resp.Body, stdout, isTerminal(stdout))
}

// replaced tells that another upgrade has just replaced the process that was
// asked: it says so, or has ended without a word.
func replaced(resp *http.Response, err error) bool {
	if err != nil {
		return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)
	}
	return resp.StatusCode == http.StatusServiceUnavailable
}

// askAgain is how long a process that has been replaced may take to end.
const askAgain = 2 * time.Second

// show prints progress until the outcome is known.
func show(lines io.Reader, stdout io.Writer, terminal bool) error {
	in := json.NewDecoder(lines)
	shown := int64(-1)
	for {
		var p progress
		if err := in.Decode(&p); err != nil {
			return fmt.Errorf("the gateway went away before the outcome was known: %w", err)
		}
		switch {
		case p.Phase == phaseRolledBack:
			newline(stdout, terminal, shown)
			return errors.New("upgrade rolled back, nothing has changed: " + p.Error)
		case p.Error != "":
			newline(stdout, terminal, shown)
			return errors.New("upgrade failed, and every connection is lost: " + p.Error)
		case p.Phase == "done":
			fmt.Fprintln(stdout, "upgraded")
			return nil
		case p.Phase == "precopy" && p.Total > 0:
			percent := min(100, 100*p.Done/p.Total)
			if terminal {
				fmt.Fprintf(stdout, "\r  %-9s [%-40s] %d of %d connections", "pre-copy", strings.Repeat("#", int(percent*40/100)), min(p.Done, p.Total), p.Total)
			} else if percent/25 > shown/25 || shown < 0 {
				fmt.Fprintf(stdout, "%7.3fs  pre-copy: %d of %d connections\n", p.Seconds, min(p.Done, p.Total), p.Total)
			}
			shown = percent
		default:
			newline(stdout, terminal, shown)
			shown = -1
			text := p.Phase
			if p.Text != "" {
				text = p.Text
			}
			fmt.Fprintf(stdout, "%7.3fs  %s\n", p.Seconds, text)
		}
	}
}

// newline ends a progress bar.
func newline(stdout io.Writer, terminal bool, shown int64) {
	if terminal && shown >= 0 {
		fmt.Fprintln(stdout)
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
