package upgrade

import (
	"log/slog"
	"time"

	"holdfast/cmd/holdfast/admin"
	"holdfast/cmd/holdfast/config"
	"holdfast/cmd/holdfast/credentials"
	"holdfast/cmd/holdfast/gate"
	"holdfast/cmd/holdfast/metrics"
	"holdfast/cmd/holdfast/shard"
	"holdfast/cmd/holdfast/systemd"

	"github.com/cloudflare/tableflip"
)

// Process is what an upgrade needs of the process around it.
type Process struct {
	Config   *config.Config
	Version  string
	Log      *slog.Logger
	Flip     *tableflip.Upgrader
	Shards   []*shard.Shard
	Gate     *gate.Gate
	Reporter *systemd.Reporter
	Counters *metrics.Counters
	Tickets  *credentials.Tickets // nil: no TLS
	Slice    int                  // connections duplicated at once: each takes a file descriptor meanwhile

	// EncodeCounters encodes everything that the gateway has counted. It is
	// called while the loops are frozen.
	EncodeCounters func() []byte
	// Record counts an upgrade that was rolled back. pause is 0 if there was no
	// freeze.
	Record func(report admin.UpgradeReport, pause time.Duration)
}

func (p *Process) held() int64 { return p.Shards[0].Held.Load() }
