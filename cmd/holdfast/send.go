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
	return i.order(func(ctx context.Context, c *proc.Client) error {
		_, err := outcome(c.Send(ctx, i.args[0], message), printable("send to "+i.args[0]))
		return err
	})
}
