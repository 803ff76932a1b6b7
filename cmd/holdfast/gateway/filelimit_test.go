package gateway

import (
	"testing"
	"time"

	"holdfast/cmd/holdfast/config"
)

func TestFileBudget(t *testing.T) {
	c, _ := config.Parse(nil)
	for _, tt := range []struct{ limit, chargers int }{
		{64, 1},
		{160, 160 - 2*10 - 10 - 10 - otherFiles},
		{1024, 1024 - 2*64 - 64 - 64 - otherFiles},
		{1 << 20, 1<<20 - 2*c.Handshakes - c.MaxLinks - mostSlice - otherFiles},
	} {
		b := newFileBudget(tt.limit, c)
		if b.chargers != tt.chargers || b.handshakes < 1 || b.links < 1 || b.slice < 1 {
			t.Errorf("%d descriptors: %+v; want %d for chargers", tt.limit, b, tt.chargers)
		}
	}
}

func TestReminder(t *testing.T) {
	now := time.Now()
	r := reminder{interval: time.Minute}
	for _, tt := range []struct {
		after time.Duration
		due   bool
	}{{0, true}, {time.Second, false}, {59 * time.Second, false}, {time.Minute, true}, {61 * time.Second, false}} {
		if got := r.due(now.Add(tt.after)); got != tt.due {
			t.Errorf("after %v: %v", tt.after, got)
		}
	}
}
