package gateway

import (
	"math/rand/v2"
	"testing"
	"time"
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
	for range perSecond + 1 { // one too many: no more than a second's are kept
		r.giveBack()
	}
	burst = 0
	for r.allow(now) {
		burst++
	}
	if burst != perSecond {
		t.Errorf("%d of those given back, want %d", burst, perSecond)
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
