package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"holdfast/cmd/holdfast/admin"
	"holdfast/cmd/holdfast/config"
	"holdfast/proc"
)

// maxAtOnce is how many orders of one command are under way at once.
const maxAtOnce = 64

// isGlob reports whether an argument selects chargers, and does not name one.
func isGlob(arg string) bool { return strings.ContainsAny(arg, "*?[") }

// globText is what their help says of a glob.
const globText = "A GLOB (*, ?, [a-z]) is for every\ncharger that is connected and matches, with -yes; without, the command says how many they are.\n"

// globOptions are those of commands whose ID may be a glob.
func globOptions(i *invocation) []config.Option {
	return []config.Option{
		config.Define("yes", "false", "with a glob: do it", config.Boolean(&i.yes)),
		config.Define("rate", "100", "with a glob: chargers a second", config.Number(&i.rate, 1, 100_000)),
	}
}

func bulkOptions(i *invocation) []config.Option { return append(globOptions(i), orderOptions(i)...) }

// forEach does something with the charger that the command names, or with each that
// matches its glob. do returns what is printed of one, or else its error is; with a glob
// the command fails at the end if one of them has.
func (i *invocation) forEach(do func(context.Context, *proc.Client, string) (string, error)) error {
	if !isGlob(i.args[0]) {
		return i.order(func(ctx context.Context, c *proc.Client) error {
			text, err := do(ctx, c, i.args[0])
			if text != "" {
				fmt.Fprintln(i.stdout, text)
			}
			return err
		})
	}
	chargers, err := i.matching(i.args[0])
	switch {
	case err != nil:
		return err
	case len(chargers) == 0:
		return exit(exitOffline, "no charger that is connected matches %s", printable(i.args[0]))
	case !i.yes:
		return exit(exitUsage, "%d chargers match %s; with -yes the command is for all of them", len(chargers), printable(i.args[0]))
	}
	ctx, cancel := context.WithTimeout(context.Background(), i.timeout)
	c, err := i.orders(ctx)
	cancel()
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	failed := i.doAll(c, chargers, do)
	if failed > 0 {
		return exit(exitFailed, "%d of %d chargers: it failed", failed, len(chargers))
	}
	return nil
}

// doAll does it with all, at the rate that the command has, and returns how many failed.
func (i *invocation) doAll(c *proc.Client, chargers []string, do func(context.Context, *proc.Client, string) (string, error)) (failed int) {
	var mu sync.Mutex // of what is printed, and of failed
	var running sync.WaitGroup
	slots := make(chan struct{}, maxAtOnce)
	tick := time.NewTicker(time.Second / time.Duration(i.rate))
	defer tick.Stop()
	for n, identity := range chargers {
		if n > 0 {
			<-tick.C
		}
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(context.Background(), i.timeout)
			defer cancel()
			text, err := do(ctx, c, identity)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed++
			}
			switch {
			case err != nil && text == "":
				fmt.Fprintln(i.stderr, "holdfast:", err)
			case text == "":
				fmt.Fprintf(i.stdout, "%s  done\n", printable(identity))
			case i.json:
				fmt.Fprintln(i.stdout, text)
			default:
				fmt.Fprintf(i.stdout, "%s  %s\n", printable(identity), text)
			}
		})
	}
	running.Wait()
	return failed
}

// matching returns the chargers that are connected and match a glob.
func (i *invocation) matching(glob string) (identities []string, err error) {
	c, err := i.client()
	if err != nil {
		return nil, err
	}
	resp, err := c.Do(http.MethodGet, "/chargers", url.Values{"glob": {glob}})
	var status *admin.StatusError
	if errors.As(err, &status) && status.Status == http.StatusBadRequest {
		return nil, exit(exitUsage, "%w", err)
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	for in := json.NewDecoder(resp.Body); ; {
		var s admin.ChargerStatus
		switch err := in.Decode(&s); {
		case err == io.EOF:
			return identities, nil
		case err != nil:
			return nil, fmt.Errorf("answer of the gateway: %w", err)
		}
		identities = append(identities, s.Identity)
	}
}
