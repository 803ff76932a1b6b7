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
	return i.forEach(func(ctx context.Context, c *proc.Client, identity string) (string, error) {
		var err error
		if i.drop {
			err = c.Drop(ctx, identity, i.reason)
		} else {
			err = c.Disconnect(ctx, identity, i.code, i.reason)
		}
		_, err = outcome(err, printable("close "+identity))
		return "", err
	})
}
