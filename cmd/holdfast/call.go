package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"holdfast/proc"
)

// callOutcome is what `holdfast call -json` prints.
type callOutcome struct {
	Charger     string          `json:"charger"`
	Action      string          `json:"action"`
	Outcome     string          `json:"outcome"` // answered, call_error, offline, timeout, closed, full, refused, malformed, lost or failed
	Payload     json.RawMessage `json:"payload,omitempty"`
	Code        string          `json:"code,omitempty"` // of a CALLERROR
	Description string          `json:"description,omitempty"`
	Details     json.RawMessage `json:"details,omitempty"`
	Answer      []byte          `json:"answer,omitempty"` // base64: one that is not valid OCPP, outcome malformed
	Seconds     float64         `json:"seconds"`
}

func runCall(i *invocation) error {
	if err := i.parse(); err != nil {
		return err
	}
	payload := json.RawMessage("{}")
	if len(i.args) > 2 {
		var err error
		if payload, err = document(i.args[2], "PAYLOAD", '{'); err != nil {
			return err
		}
	}
	out := callOutcome{Charger: i.args[0], Action: i.args[1]}
	return i.order(func(ctx context.Context, c *proc.Client) error {
		began := time.Now()
		answer, err := c.Call(ctx, out.Charger, out.Action, payload)
		word, failure := outcome(err, printable(out.Action+" at "+out.Charger))
		if !i.json {
			if failure == nil {
				return i.printAnswer(answer)
			}
			return failure
		}
		out.Outcome, out.Payload, out.Seconds = word, answer, time.Since(began).Seconds()
		if failure == nil {
			out.Outcome = "answered"
		}
		var answered *proc.CallError
		if errors.As(err, &answered) {
			out.Code, out.Description, out.Details = answered.Code, answered.Description, answered.Details
		}
		var malformed *proc.AnswerError
		if errors.As(err, &malformed) {
			out.Answer = malformed.Answer
		}
		return errors.Join(printJSON(i.stdout, out), failure)
	})
}

// printAnswer prints JSON of a charger: indented for people, else on one line.
func (i *invocation) printAnswer(answer json.RawMessage) error {
	if i.terminal {
		var text strings.Builder
		if err := printJSON(&text, answer); err != nil {
			return err
		}
		for line := range strings.Lines(text.String()) {
			fmt.Fprintln(i.stdout, printable(strings.TrimSuffix(line, "\n")))
		}
		return nil
	}
	out := json.NewEncoder(i.stdout)
	out.SetEscapeHTML(false)
	return out.Encode(answer)
}
