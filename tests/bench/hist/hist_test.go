package hist

import (
	"testing"
	"time"
)

func TestBucketBoundsHold(t *testing.T) {
	for v := uint64(0); v < 1<<40; v += v/300 + 1 {
		i := bucket(v)
		if up := uint64(upper(i)); up < v || up-v > v/100+1 {
			t.Fatalf("%d is in bucket %d, whose largest value is %d", v, i, up)
		}
		if i > 0 && uint64(upper(i-1)) >= v {
			t.Fatalf("%d would fit bucket %d", v, i-1)
		}
	}
}

func TestQuantile(t *testing.T) {
	var h Hist
	if h.Quantile(0.5) != 0 {
		t.Fatal("an empty histogram has no median")
	}
	for i := 1; i <= 1000; i++ {
		h.Add(time.Duration(i) * time.Microsecond)
	}
	for _, c := range []struct {
		q    float64
		want time.Duration
	}{{0, 1}, {0.5, 501}, {0.99, 991}, {1, 1000}} {
		want := c.want * time.Microsecond
		if got := h.Quantile(c.q); got < want || got > want+want/100 {
			t.Errorf("quantile %v: got %v, want %v", c.q, got, want)
		}
	}
	if h.Max() != time.Millisecond {
		t.Errorf("max: got %v", h.Max())
	}
}
