package gateway

import (
	"context"
	"errors"

	"holdfast/cmd/holdfast/shard"
)

// health returns an error when a loop does not turn: only a restart helps then.
func (g *gateway) health(ctx context.Context) error {
	for _, s := range g.shards {
		if _, err := shard.Ask(ctx, s, func() struct{} { return struct{}{} }); err != nil {
			return err
		}
	}
	return nil
}

// readiness returns an error when a charger would get no answer: the gateway is
// shutting down, a loop does not turn, or there is no processor.
func (g *gateway) readiness(ctx context.Context) error {
	if g.gate.Over() {
		return errors.New("shutting down")
	}
	for _, s := range g.shards {
		switch served, err := shard.Ask(ctx, s, s.Relay.Served); {
		case err != nil:
			return err
		case !served:
			return errors.New("no processor takes messages: chargers are held, and what they send waits")
		}
	}
	return nil
}
