package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"holdfast/cmd/holdfast/admin"
)

// drainInterval is how often the gateway is asked whether it is done.
const drainInterval = 100 * time.Millisecond

// runDrain is drain and undrain.
func runDrain(i *invocation) error {
	if err := i.parse(); err != nil {
		return err
	}
	c, err := i.client()
	if err != nil {
		return err
	}
	name := i.args[0]
	resp, err := c.Do(http.MethodPost, "/"+i.command.name, url.Values{"processor": {name}, "force": {strconv.FormatBool(i.force)}})
	var status *admin.StatusError
	if errors.As(err, &status) && status.Status == http.StatusNotFound {
		return exit(exitOffline, "%w", err)
	}
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if i.command.name == "undrain" {
		fmt.Fprintf(i.stdout, "%s gets its share of the chargers again\n", name)
		return nil
	}
	for began := time.Now(); ; time.Sleep(drainInterval) {
		var s admin.Status
		if err := c.Get("/status", nil, &s); err != nil {
			return err
		}
		inFlight, serving := 0, 0
		for _, l := range s.Links {
			switch {
			case l.Processor == name && l.Draining:
				inFlight += l.InFlight
			case l.Processor == name:
				serving++
			}
		}
		switch {
		case serving > 0:
			return fmt.Errorf("%s gets deliveries again: somebody took the drain back (undrain), or it has joined anew", name)
		case inFlight == 0:
			fmt.Fprintf(i.stdout, "%s is drained: it may be stopped\n", name)
			return nil
		case time.Since(began) > i.timeout:
			return exit(exitTimeout, "%s still has %d deliveries unacknowledged after %v; no new ones are made", name, inFlight, i.timeout)
		}
	}
}
