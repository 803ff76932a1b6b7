package main

import (
	"context"

	"holdfast/proc"
)

func runSend(i *invocation) error {
	if err := i.parse(); err != nil {
		return err
	}
	message, err := document(i.args[1], "MESSAGE", '[')
	if err != nil {
		return err
	}
	return i.forEach(func(ctx context.Context, c *proc.Client, identity string) (string, error) {
		_, err := outcome(c.Send(ctx, identity, message), printable("send to "+identity))
		return "", err
	})
}
