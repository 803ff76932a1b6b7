package main

import (
	"context"

	"holdfast/proc"
)

func runClose(i *invocation) error {
	if err := i.parse(); err != nil {
		return err
	}
	if i.drop && i.code != 0 {
		return exit(exitUsage, "-drop sends no Close frame, so there is no -code")
	}
	return i.order(func(ctx context.Context, c *proc.Client) error {
		var err error
		if i.drop {
			err = c.Drop(ctx, i.args[0], i.reason)
		} else {
			err = c.Disconnect(ctx, i.args[0], i.code, i.reason)
		}
		_, err = outcome(err, printable("close "+i.args[0]))
		return err
	})
}
