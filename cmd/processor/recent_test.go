package main

import "testing"

func TestRecent(t *testing.T) {
	r := newRecent[int, int](4)
	for i := range 100 {
		r.put(i, -i)
		if v, ok := r.get(0); !ok || v != 0 {
			t.Fatalf("after %d: 0 is used all the time and yet forgotten", i)
		}
		if n := len(r.young) + len(r.old); n > 2*r.limit {
			t.Fatalf("%d entries, limit 2×%d", n, r.limit)
		}
	}
	for i := 97; i < 100; i++ { // with 0 they are the 4 used last
		if _, ok := r.get(i); !ok {
			t.Errorf("%d is forgotten", i)
		}
	}
	if _, ok := r.get(50); ok {
		t.Error("50 is kept for ever")
	}
	r.remove(99)
	r.remove(0)
	for _, k := range []int{0, 99} {
		if _, ok := r.get(k); ok {
			t.Errorf("%d is there after its removal", k)
		}
	}
}
