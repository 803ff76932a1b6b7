package main

import (
	"context"

	"holdfast/proc"
)

func runClose(i *invocation) error {
	if err := i.parse(); err != nil {
		return err
	}
	return i.order(func(ctx context.Context, c *proc.Client) error {
		_, err := outcome(c.Disconnect(ctx, i.args[0], i.code, i.reason), printable("close "+i.args[0]))
		return err
	})
}
