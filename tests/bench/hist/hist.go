// Package hist counts durations in buckets whose width is below 1 % of the
// value, so that a run of any length fits 32 KiB.
package hist

import (
	"math/bits"
	"time"
)

// subBits: each power of two is split into 1<<subBits buckets.
const subBits = 7

// Hist is a histogram; the zero value is empty and ready.
type Hist struct {
	buckets [(65 - subBits) << subBits]uint32
	n       uint64
	max     time.Duration
}

// Add counts one duration; a negative one counts as 0.
func (h *Hist) Add(d time.Duration) {
	d = max(d, 0)
	h.buckets[bucket(uint64(d))]++
	h.n++
	h.max = max(h.max, d)
}

// Quantile returns the duration that the share q (0 to 1) of all does not
// exceed: the upper bound of its bucket, at most Max. 0 when empty.
func (h *Hist) Quantile(q float64) time.Duration {
	rank := min(uint64(q*float64(h.n)), max(h.n, 1)-1)
	var seen uint64
	for i, c := range h.buckets {
		seen += uint64(c)
		if seen > rank {
			return min(upper(i), h.max)
		}
	}
	return h.max
}

// Max is the longest duration counted.
func (h *Hist) Max() time.Duration { return h.max }

// Reset empties h.
func (h *Hist) Reset() { *h = Hist{} }

// bucket: values below 1<<subBits have one each; above, the leading subBits+1
// bits choose.
func bucket(v uint64) int {
	shift := max(bits.Len64(v)-subBits-1, 0)
	return shift<<subBits + int(v>>shift)
}

// upper is the largest value of bucket i.
func upper(i int) time.Duration {
	shift := max(i>>subBits-1, 0)
	v := uint64(i - shift<<subBits)
	return time.Duration((v+1)<<shift - 1)
}
