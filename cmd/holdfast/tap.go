package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/signal"
	"syscall"
	"time"

	"holdfast/proc"
)

// tapLine is what `holdfast tap -json` prints of a message.
type tapLine struct {
	Time      time.Time `json:"time"`
	Charger   string    `json:"charger"`
	Direction string    `json:"direction"` // in: of the charger; out: to it
	Bytes     int       `json:"bytes"`
	Binary    []byte    `json:"binary,omitempty"`  // base64
	Message   any       `json:"message,omitempty"` // as it is if it is JSON, else a string
}

func runTap(i *invocation) error {
	if err := i.parse(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	c, err := i.orders(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	var failed error
	err = c.Tap(ctx, i.args[0], func(m proc.Tapped) {
		if failed == nil {
			if failed = i.showTapped(m); failed != nil {
				stop() // nobody reads any more
			}
		}
	})
	if failed != nil {
		return failed
	}
	if errors.Is(err, context.Canceled) {
		return nil
	}
	_, err = outcome(err, printable("tap "+i.args[0]))
	return err
}

func (i *invocation) showTapped(m proc.Tapped) (err error) {
	switch {
	case m.LinkLost:
		fmt.Fprintln(i.stderr, "holdfast: the gateway was away; nobody knows what was missed")
	case m.Missed > 0:
		fmt.Fprintf(i.stderr, "holdfast: %d messages are missing here: they came faster than they could be shown\n", m.Missed)
	case i.json:
		line := tapLine{Time: m.Time, Charger: m.Identity, Direction: "in", Bytes: len(m.Message)}
		if m.ToCharger {
			line.Direction = "out"
		}
		switch {
		case m.Binary:
			line.Binary = m.Message
		case json.Valid(m.Message):
			line.Message = json.RawMessage(m.Message)
		default:
			line.Message = string(m.Message)
		}
		out := json.NewEncoder(i.stdout)
		out.SetEscapeHTML(false)
		err = out.Encode(line)
	default:
		arrow, text := "->", printable(string(m.Message))
		if m.ToCharger {
			arrow = "<-"
		}
		if m.Binary {
			text = fmt.Sprintf("binary %x", m.Message)
		}
		_, err = fmt.Fprintf(i.stdout, "%s  %s %s %6d B  %s\n", m.Time.Local().Format("15:04:05.000"), m.Identity, arrow, len(m.Message), text)
	}
	return err
}
