package keep

import (
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// benchItems is how many TCP sockets are put and claimed.
const benchItems = 10_000

// BenchmarkClaim puts benchItems sockets in a keeper, and claims them.
func BenchmarkClaim(b *testing.B) {
	if os.Geteuid() == 0 {
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 1 << 18, Max: 1 << 18})
	}
	limit := hardFileLimit()
	n := min(benchItems, (limit-200)/2)
	if n < benchItems {
		b.Logf("%d items: RLIMIT_NOFILE is %d", n, limit)
	}
	items := make([]Item, n)
	for i := range items {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = unix.Close(fd) }()
		items[i] = Item{uint64(i), fd}
	}
	var putTime, claimTime, oneTime time.Duration
	for b.Loop() {
		p := spawnKeeper(b, nil)
		p.order("", "keeps 0")
		o, _ := claim(b, p.path)
		begun := time.Now()
		put(b, o, items[:n/2])
		putTime += time.Since(begun)
		begun = time.Now()
		for i := n / 2; i < n; i++ { // as chargers come
			put(b, o, items[i:i+1])
		}
		oneTime += time.Since(begun)
		_ = o.Close()
		begun = time.Now()
		o, in := claim(b, p.path)
		claimTime += time.Since(begun)
		if len(in.Items) != n {
			b.Fatal(len(in.Items))
		}
		in.Close()
		_ = o.Close()
	}
	per := func(d time.Duration, n int) float64 {
		return float64(d.Nanoseconds()) / 1000 / float64(n) / float64(b.N)
	}
	b.ReportMetric(per(putTime, n/2), "µs/put")
	b.ReportMetric(per(oneTime, n-n/2), "µs/put-alone")
	b.ReportMetric(per(claimTime, n), "µs/claim")
}
