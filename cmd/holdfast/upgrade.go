package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"holdfast/cmd/holdfast/admin"
)

// runUpgrade has the running gateway replace itself, and shows how it goes: a
// progress bar on a terminal, lines otherwise.
func runUpgrade(i *invocation) error {
	if err := i.parse(); err != nil {
		return err
	}
	c, err := i.client()
	if err != nil {
		return err
	}
	resp, err := c.Do(http.MethodPost, "/upgrade", nil)
	var unreachable *admin.UnreachableError
	if serving := admin.Pointed(); errors.As(err, &unreachable) && serving != "" && serving != c.Socket && i.socket == "" {
		// The configuration has a new socket, which the running gateway does not know.
		resp, err = admin.NewClient(serving).Do(http.MethodPost, "/upgrade", nil)
	}
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	return show(resp.Body, i.stdout, i.terminal)
}

// show prints progress until the outcome is known.
func show(lines io.Reader, stdout io.Writer, terminal bool) error {
	in := json.NewDecoder(lines)
	shown := int64(-1)
	for {
		var p admin.Progress
		if err := in.Decode(&p); err != nil {
			return fmt.Errorf("the gateway went away before the outcome was known: %w", err)
		}
		switch {
		case p.Phase == admin.PhaseRolledBack:
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
