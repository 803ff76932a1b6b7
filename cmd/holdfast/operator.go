package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"holdfast/cmd/holdfast/admin"
	"holdfast/proc"
)

// orders joins the gateway as an operator, over its admin socket.
func (i *invocation) orders(ctx context.Context) (*proc.Client, error) {
	c, err := i.client()
	if err != nil {
		return nil, err
	}
	joined, err := proc.Dial(ctx, proc.ClientConfig{
		Name:   fmt.Sprintf("holdfast-%s-%d", i.command.name, os.Getpid()),
		Dial:   c.Link,
		Logger: slog.New(slog.DiscardHandler), // errors come back to us
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, exit(exitTimeout, "the gateway at %s did not answer in time; nothing was sent", c.Socket)
	}
	var refused *proc.RefusedError
	if errors.As(err, &refused) {
		return nil, exit(exitNotTaken, "the gateway at %s lets no command in now: %s", c.Socket, printable(refused.Why))
	}
	if err != nil {
		return nil, &admin.UnreachableError{Socket: c.Socket, Err: err}
	}
	return joined, nil
}

// outcome is how an order ended that did not go well: its exit code, the word
// for scripts, and a line for people.
func outcome(err error, about string) (word string, failure error) {
	var answered *proc.CallError
	var refused *proc.RefusedError
	var malformed *proc.AnswerError
	unsent := ""
	if errors.Is(err, proc.ErrNotSent) {
		unsent = "; nothing was sent to it"
	}
	switch {
	case err == nil:
		return "done", nil
	case errors.As(err, &answered):
		text := printable(answered.Code)
		if answered.Description != "" {
			text += ": " + printable(answered.Description)
		}
		return "call_error", exit(exitCallError, "%s: CALLERROR %s", about, text)
	case errors.As(err, &malformed):
		return "malformed", exit(exitBadAnswer, "%s: an answer that is not valid OCPP (%s): %s", about, printable(malformed.Why), printable(string(malformed.Answer)))
	case errors.Is(err, proc.ErrOffline):
		return "offline", exit(exitOffline, "%s: the charger is not connected", about)
	case errors.Is(err, proc.ErrTimeout), errors.Is(err, context.DeadlineExceeded):
		return "timeout", exit(exitTimeout, "%s: no answer in time%s", about, unsent)
	case errors.Is(err, proc.ErrClosed):
		return "closed", exit(exitClosed, "%s: the connection ended first%s", about, unsent)
	case errors.Is(err, proc.ErrFull):
		return "full", exit(exitNotTaken, "%s: %w%s", about, proc.ErrFull, unsent)
	case errors.As(err, &refused):
		return "refused", exit(exitUsage, "%s: the gateway refused it: %s", about, printable(refused.Why))
	case errors.Is(err, proc.ErrLinkLost), errors.Is(err, proc.ErrNoLink):
		return "lost", exit(exitClosed, "%s: the gateway went away before the outcome was known", about)
	}
	return "failed", fmt.Errorf("%s: %s", about, printable(err.Error()))
}

// order runs f with a link to the gateway and the time that the command has.
func (i *invocation) order(f func(context.Context, *proc.Client) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), i.timeout)
	defer cancel()
	c, err := i.orders(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	return f(ctx, c)
}

// document is an argument that is JSON, or - for standard input; kind is its
// first character.
func document(arg, what string, kind byte) (json.RawMessage, error) {
	b := []byte(arg)
	if arg == "-" {
		var err error
		if b, err = io.ReadAll(os.Stdin); err != nil {
			return nil, fmt.Errorf("standard input: %w", err)
		}
	}
	var doc json.RawMessage
	if err := json.Unmarshal(b, &doc); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return nil, exit(exitUsage, "%s is not JSON: %s at byte %d", what, printable(syntax.Error()), syntax.Offset)
		}
		return nil, exit(exitUsage, "%s is not JSON: %w", what, err)
	}
	if doc[0] != kind {
		return nil, exit(exitUsage, "%s must be a JSON %s", what, map[byte]string{'{': "object, such as {}", '[': `array, such as [2,"id","Action",{}]`}[kind])
	}
	return doc, nil
}
