package relay

import (
	"fmt"
	"testing"
	"unsafe"

	"holdfast/unixipc"
)

// long is a queue of n entries with a payload each.
func long(n int) *queue {
	q := new(queue)
	for range n {
		q.push(entry{kind: unixipc.Message}, make([]byte, 100))
	}
	return q
}

// What is moved in memory while a long queue is acknowledged is proportional to its
// length, however it is acknowledged, and while more arrives.
func TestAcknowledgingMovesLittle(t *testing.T) {
	const n = 100_000
	for _, step := range []int{1, 2, 31, 1000} {
		for _, arriving := range []bool{false, true} {
			q := long(n)
			entries, bytes, arrived := 0, 0, 0
			for len(q.entries) > 0 {
				last := unsafe.SliceData(q.entries[len(q.entries)-1:])
				lastByte := unsafe.SliceData(q.buf[len(q.buf)-1:])
				for i := range min(step, len(q.entries)) {
					q.entries[i].acked = true
				}
				q.trim()
				if len(q.entries) == 0 {
					break
				}
				if unsafe.SliceData(q.entries[len(q.entries)-1:]) != last {
					entries += len(q.entries)
				}
				if unsafe.SliceData(q.buf[len(q.buf)-1:]) != lastByte {
					bytes += len(q.buf)
				}
				if arriving && arrived < n {
					room, roomBytes := cap(q.entries) > len(q.entries), cap(q.buf)-len(q.buf) >= 100
					q.push(entry{kind: unixipc.Message}, make([]byte, 100))
					arrived++
					if !room {
						entries += len(q.entries)
					}
					if !roomBytes {
						bytes += len(q.buf)
					}
				}
			}
			if total := n + arrived; entries > 4*total || bytes > 4*100*total {
				t.Errorf("%d at a time, more arriving %v: %d entries and %d bytes moved for %d", step, arriving, entries, bytes, total)
			}
		}
	}
}

// BenchmarkAcknowledge is the cost of one acknowledgement in a queue of so many.
func BenchmarkAcknowledge(b *testing.B) {
	for _, n := range []int{100, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var q *queue
			for i := 0; b.Loop(); i++ {
				if i%n == 0 {
					b.StopTimer()
					q = long(n)
					b.StartTimer()
				}
				q.entries[0].acked = true
				q.trim()
			}
		})
	}
}
