package shard

import (
	"encoding/json"
	"time"

	"holdfast/cmd/holdfast/metrics"
	"holdfast/relay"
	"holdfast/unixipc"
)

// observer implements relay.Observer: it counts and logs.
type observer struct{ *Shard }

func (o observer) Delivered(again bool) {
	if again {
		o.Counters.Redelivered++
	} else {
		o.Counters.Delivered++
	}
}

func (o observer) Acknowledged(after time.Duration) {
	o.Counters.Acknowledged.Observe(metrics.AckTime, after)
}

func (o observer) GivenBack() { o.Counters.GivenBack++ }

// Ordered logs who gives a charger an order, or looks at its messages. It does
// not log the messages: they may hold passwords.
func (o observer) Ordered(l *relay.Link, f unixipc.Frame) {
	var about []any
	switch f.Type {
	case unixipc.Call:
		_, message, _ := unixipc.ParseCall(f.Payload)
		about = []any{"charger", string(f.Key), "action", action(message), "bytes", len(message)}
	case unixipc.Send:
		about = []any{"charger", string(f.Key), "bytes", len(f.Payload)}
	case unixipc.Close:
		about = []any{"charger", string(f.Key), "close", string(f.Payload)}
	case unixipc.Tap:
		about = []any{"glob", string(f.Payload)}
	default:
		return
	}
	who := o.links.all[l].peer()
	o.Log.Info("operator", append([]any{"order", f.Type.String(), "pid", who.PID, "uid", who.UID, "gid", who.GID}, about...)...)
}

// action returns the action of a CALL; empty if it has none.
func action(message []byte) (name string) {
	var parts []json.RawMessage
	if json.Unmarshal(message, &parts) == nil && len(parts) > 2 {
		_ = json.Unmarshal(parts[2], &name)
	}
	return name
}
