package gateway

import (
	"log/slog"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/cmd/holdfast/config"
	"holdfast/cmd/holdfast/shard"
)

// Chargers that are let in at the same moment count, before any of them is held.
func TestAdmitCountsThoseEntering(t *testing.T) {
	c, _ := config.Parse(nil)
	shards, err := shard.New(c, "1", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = shards[0].Run() }()
	defer shards[0].Loop.Post(shards[0].Loop.Stop)
	h := &handshaker{held: new(atomic.Int64), max: 2, maxOffline: 1, shards: shards, from: shards[0].From, timeout: time.Minute}
	h.held.Add(1)
	if r := h.admit("CP-1", netip.Addr{}); r != nil {
		t.Fatal(r)
	}
	if r := h.admit("CP-1", netip.Addr{}); r == nil || r.Status != 503 || r.RetryAfter == 0 {
		t.Errorf("two of two are in, and the third got %+v", r)
	}
	h.entering.Add(-1) // its handshake failed
	if r := h.admit("CP-1", netip.Addr{}); r != nil {
		t.Errorf("there is room again, and it got %+v", r)
	}
}
