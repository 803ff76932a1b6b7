package sim

import (
	"context"
	"time"
)

const (
	// paceTick is how often a pacer wakes; what became due since then goes at once.
	paceTick = 2 * time.Millisecond
	// maxBehind is how far a pacer may fall behind before it gives turns up.
	maxBehind = time.Second
)

// pace calls turn perSecond times a second, with 0, 1, … as its argument, until ctx
// ends or turn returns false. It waits for nothing but the clock, and tells behind how
// many turns it gave up because it was late itself.
func pace(ctx context.Context, perSecond float64, behind func(int64), turn func(n int64, now time.Time) bool) {
	ticker := time.NewTicker(paceTick)
	defer ticker.Stop()
	start := time.Now()
	for done := int64(0); ; {
		now := time.Now()
		due := int64(now.Sub(start).Seconds() * perSecond)
		if late := due - done - int64(maxBehind.Seconds()*perSecond) - 1; late > 0 {
			done += late
			behind(late)
		}
		for ; done < due; done++ {
			if !turn(done, now) {
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
