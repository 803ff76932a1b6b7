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

// readiness returns an error when no charger is let in: the gateway is shutting
// down, or a loop does not turn.
func (g *gateway) readiness(ctx context.Context) error {
	if g.gate.Over() {
		return errors.New("shutting down")
	}
	return g.health(ctx)
}
