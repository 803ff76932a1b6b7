package gateway

import (
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/cmd/holdfast/config"
	"holdfast/cmd/holdfast/shard"
)

// No second may see more than a second's tokens and what had been saved up.
func TestRate(t *testing.T) {
	const perSecond = 50
	r := newRate(perSecond)
	now := time.Unix(1_000_000, 0)
	burst := 0
	for r.allow(now) {
		burst++
	}
	if burst != perSecond {
		t.Errorf("a burst of %d, want %d", burst, perSecond)
	}
	allowed := 0
	for range 10_000 { // ten seconds of a storm
		now = now.Add(time.Millisecond)
		for range 1 + rand.IntN(5) {
			if r.allow(now) {
				allowed++
			}
		}
	}
	if allowed < 10*perSecond-1 || allowed > 10*perSecond {
		t.Errorf("%d in ten seconds, want %d", allowed, 10*perSecond)
	}
	now = now.Add(time.Hour)
	for burst = 0; r.allow(now); burst++ {
	}
	if burst != perSecond {
		t.Errorf("a burst of %d after an hour, want %d", burst, perSecond)
	}
	for unlimited, n := newRate(0), 0; n < 10; n++ {
		if !unlimited.allow(now) {
			t.Error("no limit refuses")
		}
	}
}

// Chargers that are let in at the same moment count, before any of them is held.
func TestAdmitCountsThoseEntering(t *testing.T) {
	c, _ := config.Parse(nil)
	shards, err := shard.New(c, "1", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = shards[0].Run() }()
	defer shards[0].Loop.Post(shards[0].Loop.Stop)
	d := &handshaker{held: new(atomic.Int64), max: 2, shards: shards, timeout: time.Minute}
	d.held.Add(1)
	if r := d.admit("CP-1"); r != nil {
		t.Fatal(r)
	}
	if r := d.admit("CP-1"); r == nil || r.Status != 503 || r.RetryAfter == 0 {
		t.Errorf("two of two are in, and the third got %+v", r)
	}
	d.entering.Add(-1) // its handshake failed
	if r := d.admit("CP-1"); r != nil {
		t.Errorf("there is room again, and it got %+v", r)
	}
}

// slowReader takes no bytes until it is let.
type slowReader struct {
	sync.Mutex
	strings.Builder
}

func (s *slowReader) Write(b []byte) (int, error) {
	s.Lock()
	defer s.Unlock()
	return s.Builder.Write(b)
}
