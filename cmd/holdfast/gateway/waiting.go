package gateway

import (
	"context"
	"strings"
	"time"

	"holdfast/cmd/holdfast/shard"
)

const (
	// waitingInterval is how often it is looked at what waits.
	waitingInterval = 15 * time.Second
	// waitingLong is how old what nobody takes must be for a warning: longer than the
	// restart of a processor, and shorter than a charger waits for an answer.
	waitingLong = 30 * time.Second
)

// watchWaiting warns when messages wait and no processor takes them: once when that
// begins, and a line when it ends.
func (g *gateway) watchWaiting() {
	warned := time.Time{}
	for range time.Tick(waitingInterval) {
		var idle shard.Unowned
		if g.gate.Over() {
			return
		}
		if err := g.unowned(&idle); err != nil {
			continue // an upgrade, or a loop that the watchdog sees to
		}
		switch {
		case warned.IsZero() && idle.Messages > 0 && idle.Oldest >= waitingLong:
			warned = time.Now()
			g.log.Warn("messages wait, and no processor takes them", "messages", idle.Messages, "chargers", idle.Chargers,
				"subprotocols", strings.Join(idle.Subprotocols, ","),
				"oldest", idle.Oldest.Round(time.Second).String(), "remedy", "start a processor that takes these subprotocols")
		case !warned.IsZero() && idle.Messages == 0:
			g.log.Info("messages are taken again", "after", time.Since(warned).Round(time.Second).String())
			warned = time.Time{}
		}
	}
}

// unowned adds up what no processor takes.
func (g *gateway) unowned(sum *shard.Unowned) error {
	ctx, cancel := context.WithTimeout(context.Background(), waitingInterval)
	defer cancel()
	for _, s := range g.shards {
		waits, err := s.Survey(ctx)
		if err != nil {
			return err
		}
		sum.Add(waits.Unowned)
	}
	return nil
}
