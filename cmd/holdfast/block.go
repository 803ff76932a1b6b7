package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"

	"holdfast/cmd/holdfast/admin"
)

func runBlock(i *invocation) error {
	if err := i.parse(); err != nil {
		return err
	}
	c, err := i.client()
	if err != nil {
		return err
	}
	query := url.Values{"target": {i.args[0]}, "reason": {i.reason}}
	if i.length > 0 {
		query.Set("for", i.length.String())
	}
	resp, err := c.Do(http.MethodPost, "/block", query)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	var result struct{ Closed int }
	if err := json.NewDecoder(resp.Body).Decode(&result); err != nil {
		return fmt.Errorf("answer of the gateway: %w", err)
	}
	fmt.Fprintf(i.stdout, "%s is blocked; %d connections are closed\n", i.args[0], result.Closed)
	return nil
}

func runUnblock(i *invocation) error {
	if err := i.parse(); err != nil {
		return err
	}
	c, err := i.client()
	if err != nil {
		return err
	}
	resp, err := c.Do(http.MethodPost, "/unblock", url.Values{"target": {i.args[0]}})
	var status *admin.StatusError
	if errors.As(err, &status) && status.Status == http.StatusNotFound {
		return exit(exitOffline, "%w", err)
	}
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	fmt.Fprintf(i.stdout, "%s may connect again\n", i.args[0])
	return nil
}

func runBlocks(i *invocation) error {
	if err := i.parse(); err != nil {
		return err
	}
	c, err := i.client()
	if err != nil {
		return err
	}
	var all []admin.BlockStatus
	if err := c.Get("/blocks", nil, &all); err != nil {
		return err
	}
	if i.json {
		return json.NewEncoder(i.stdout).Encode(all)
	}
	t := tabwriter.NewWriter(i.stdout, 0, 0, 2, ' ', 0)
	for n, b := range all {
		if n == 0 {
			fmt.Fprintln(t, "BLOCKED\tUNTIL\tREASON")
		}
		until := "for ever"
		if b.Until != nil {
			until = b.Until.Local().Format(time.DateTime)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", b.Target, until, b.Reason)
	}
	return t.Flush()
}
