package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"text/tabwriter"
	"time"

	"holdfast/cmd/holdfast-bridge/bridge"
)

// ask asks the bridge that runs.
func ask(socket, method, path string, body, answer any) error {
	c := http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequest(method, "http://bridge"+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	resp, err := c.Do(req)
	if err != nil {
		return fmt.Errorf("ask the bridge at %s: %w", socket, errors.Unwrap(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the bridge at %s answered %s", socket, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(answer)
}

// status prints what the bridge that runs has.
func status(args []string, w io.Writer) error {
	fs := flag.NewFlagSet("status", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	socket := fs.String("admin", "/run/holdfast-bridge/admin.sock", "the bridge's admin socket, a `path`")
	asJSON := fs.Bool("json", false, "print JSON")
	if err := fs.Parse(args); errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(w, "usage: holdfast-bridge status [-admin PATH] [-json]\n\n")
		fs.SetOutput(w)
		fs.PrintDefaults()
		return nil
	} else if err != nil {
		return fmt.Errorf("%w (%w)", err, errUsage)
	}
	var s bridge.Status
	if err := ask(*socket, http.MethodGet, "/status", nil, &s); err != nil {
		return err
	}
	if *asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(s)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "chargers\t%d\n", s.Chargers)
	fmt.Fprintf(t, "connected to their central system\t%d\n", s.Connected)
	fmt.Fprintf(t, "messages that wait here\t%d\n", s.Waiting)
	fmt.Fprintf(t, "CALLs that chargers have\t%d\n", s.Calls)
	fmt.Fprintf(t, "round trips at central systems\t%d, %.1f ms on average, %.1f ms the longest\n\n", s.RoundTrips.Count, 1000*s.RoundTrips.Mean, 1000*s.RoundTrips.Longest)
	fmt.Fprintln(t, "ROUTE\tCHARGERS\tCONNECTED\tWHY NOT")
	for _, r := range s.Routes {
		fmt.Fprintf(t, "%s %s\t%d\t%d\t%s\n", r.Glob, r.URL, r.Chargers, r.Connected, r.Why)
	}
	for i, c := range s.Without {
		if i == 0 {
			fmt.Fprint(t, "\nCHARGER\tCENTRAL SYSTEM\tFOR\tWHY NOT\n")
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", c.Identity, c.Upstream, (time.Duration(c.Seconds) * time.Second).String(), c.Why)
	}
	return t.Flush()
}

// askReload has the bridge that runs read its routes again.
func askReload(o options, w io.Writer) error {
	if o.admin == "" {
		return fmt.Errorf("-reload asks the bridge at its admin socket: admin is missing (%w)", errUsage)
	}
	var outcome reloaded
	if err := ask(o.admin, http.MethodPost, "/reload", nil, &outcome); err != nil {
		return err
	}
	if outcome.Fault != "" {
		return fmt.Errorf("the old routes hold: %s", outcome.Fault)
	}
	fmt.Fprintf(w, "%d chargers move\n", outcome.Moves)
	return nil
}

// dryRun prints whom the routes of o would move.
func dryRun(o options, w io.Writer) error {
	if o.admin == "" {
		fmt.Fprintln(w, "the options are right; with -admin, the bridge that runs says whom the routes would move")
		return nil
	}
	var moves []bridge.Move
	if err := ask(o.admin, http.MethodPost, "/moves", &o.routes, &moves); err != nil {
		return err
	}
	fmt.Fprintf(w, "%d chargers would move\n", len(moves))
	for _, m := range moves {
		if m.To == "" {
			m.To = "(no route)"
		}
		fmt.Fprintf(w, "%s  %s -> %s\n", m.Charger, m.From, m.To)
	}
	return nil
}
