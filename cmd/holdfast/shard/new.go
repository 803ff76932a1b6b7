package shard

import (
	"crypto/rand"
	"log/slog"
	"sync/atomic"

	"holdfast/cmd/holdfast/addresses"
	"holdfast/cmd/holdfast/config"
	"holdfast/cmd/holdfast/metrics"
	"holdfast/conn"
	"holdfast/relay"
)

const (
	// chargerWindow is how many deliveries of one charger may be in flight.
	chargerWindow = 16
	// orderBytes is how much of a link may be unwritten, beyond one message:
	// more than deliveries alone can make.
	orderBytes = 2 << 20
)

// New returns c.Loops shards. Their loops do not turn before Run.
func New(c *config.Config, version string, log *slog.Logger) ([]*Shard, error) {
	shards := make([]*Shard, c.Loops)
	instance := rand.Text() // an upgrade replaces it
	held, joined := new(atomic.Int64), new(atomic.Int64)
	from := addresses.NewConnections(addresses.Limits{Connections: c.ConnectionsPerAddr, Trusted: c.Trusted})
	for i := range shards {
		s := &Shard{
			Index: i, shards: shards, Log: log, Held: held, From: from, Joined: joined,
			Counters: metrics.NewLoopCounters(),
		}
		var err error
		if s.Loop, err = conn.NewLoop(loopConfig(c), s); err != nil {
			return nil, err
		}
		s.Relay = relay.New(relayConfig(c, version, instance, s), toChargers{s})
		s.links = links{
			index: i, loop: s.Loop, relay: s.Relay, log: log, counters: &s.Counters, joined: joined,
			maxUnwritten: orderBytes + c.MaxMessage, all: map[*relay.Link]*Link{}, changed: s.linkChanged, gone: s.linkGone,
		}
		s.BeginTurn(s.Loop.Now())
		shards[i] = s
	}
	return shards, nil
}

func loopConfig(c *config.Config) conn.Config {
	return conn.Config{
		MaxMessage:   c.MaxMessage,
		Lenient:      c.Lenient,
		RecordSize:   c.TLSRecordSize,
		WriteBuffer:  c.WriteBuffer,
		MemoryLimit:  c.BufferBytes / c.Loops,
		PingInterval: c.PingInterval,
		IdleTimeout:  c.IdleTimeout,
		WriteTimeout: c.WriteTimeout,
		CloseTimeout: c.CloseTimeout,
	}
}

func relayConfig(c *config.Config, version, instance string, s *Shard) relay.Config {
	return relay.Config{
		Version:       version,
		Instance:      instance,
		Subprotocols:  c.Subprotocols,
		Loop:          s.Index,
		Loops:         c.Loops,
		MaxMessage:    c.MaxMessage,
		QueueMessages: c.QueueMessages,
		QueueBytes:    c.QueueBytes,
		BufferBytes:   c.BufferBytes / c.Loops,
		Window:        c.Window,
		MaxWindow:     config.MaxWindow,
		ChargerWindow: chargerWindow,
		AckTimeout:    c.AckTimeout,
		LinkBacklog:   1<<20 + c.BufferBytes/c.Loops/4,
		MaxAttempts:   c.MaxAttempts,

		CallTimeout:    c.CallTimeout,
		MaxCallTimeout: c.MaxCallTimeout,
		CallQueue:      c.CallQueue,

		Observer: observer{s},
	}
}
