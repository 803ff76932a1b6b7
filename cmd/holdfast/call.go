package main

import (
	"context"
	"encoding/json"
	"errors"
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
	return i.forEach(func(ctx context.Context, c *proc.Client, identity string) (string, error) {
		out := callOutcome{Charger: identity, Action: i.args[1]}
		began := time.Now()
		answer, err := c.Call(ctx, out.Charger, out.Action, payload)
		word, failure := outcome(err, printable(out.Action+" at "+out.Charger))
		if !i.json {
			if failure != nil {
				return "", failure
			}
			return i.answerText(answer)
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
		return i.outcomeText(out, failure)
	})
}

// answerText is JSON of a charger: indented for people, else on one line.
func (i *invocation) answerText(answer json.RawMessage) (string, error) {
	text, err := i.encode(answer, i.terminal)
	if err != nil || !i.terminal || isGlob(i.args[0]) {
		return text, err
	}
	lines := strings.Split(text, "\n")
	for n, line := range lines {
		lines[n] = printable(line)
	}
	return strings.Join(lines, "\n"), nil
}

// outcomeText is an outcome in JSON, beside its failure.
func (i *invocation) outcomeText(out callOutcome, failure error) (string, error) {
	text, err := i.encode(out, true)
	return text, errors.Join(err, failure)
}

// encode encodes v; of many chargers each is on one line.
func (i *invocation) encode(v any, indent bool) (string, error) {
	var text strings.Builder
	out := json.NewEncoder(&text)
	out.SetEscapeHTML(false)
	if indent && !isGlob(i.args[0]) {
		out.SetIndent("", "  ")
	}
	err := out.Encode(v)
	return strings.TrimSuffix(text.String(), "\n"), err
}
