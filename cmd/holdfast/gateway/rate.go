package gateway

import (
	"sync"
	"time"
)

// rate is a token bucket that holds the tokens of one second; nil allows
// everything.
type rate struct {
	mu        sync.Mutex
	perSecond float64
	tokens    float64
	last      time.Time
}

func newRate(perSecond int) *rate {
	if perSecond == 0 {
		return nil
	}
	return &rate{perSecond: float64(perSecond), tokens: float64(perSecond)}
}

// giveBack returns the token of a charger that was not let in after all.
func (r *rate) giveBack() {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tokens = min(r.perSecond, r.tokens+1)
}

func (r *rate) allow(now time.Time) bool {
	if r == nil {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tokens = min(r.perSecond, r.tokens+now.Sub(r.last).Seconds()*r.perSecond)
	r.last = now
	if r.tokens < 1 {
		return false
	}
	r.tokens--
	return true
}
