package hostile

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/tests/harness"
	"holdfast/tests/raw"
)

const (
	// witnessEvery is the pause between two questions of the witness.
	witnessEvery = 5 * time.Millisecond
	// sane is the longest that an answer may take on a machine with other work,
	// the gateway with race detection.
	sane = 2 * time.Second
)

// observe opens the witness, which asks until the test ends. A lost, wrong or
// late answer fails the test.
func observe(t testing.TB, w *harness.World) {
	t.Helper()
	observeWithin(t, w, "witness", sane)
}

func observeWithin(t testing.TB, w *harness.World, identity string, longest time.Duration) {
	t.Helper()
	c := open(t, w, identity)
	c.send(raw.Text("first"))
	c.expect(answered("first"))
	var stop atomic.Bool
	done := make(chan error, 1)
	n, slowest := 0, time.Duration(0)
	go func() {
		done <- func() error {
			for ; !stop.Load(); n++ {
				began := time.Now()
				if err := c.SetDeadline(began.Add(harness.Deadline)); err != nil {
					return err
				}
				if _, err := c.Write([]byte(raw.Text(fmt.Sprint("question ", n)))); err != nil {
					return err
				}
				if got, err := c.message(); err != nil || got != answered("question %d", n) {
					return fmt.Errorf("answer %d is %.100q, %w", n, got, err)
				}
				slowest = max(slowest, time.Since(began))
				time.Sleep(witnessEvery)
			}
			return nil
		}()
	}()
	t.Cleanup(func() {
		stop.Store(true)
		if err := <-done; err != nil {
			t.Errorf("%s, after %d answers: %v", identity, n, err)
		}
		t.Logf("%s: %d answers, the slowest took %v", identity, n, slowest.Round(time.Microsecond))
		if n == 0 || slowest > longest {
			t.Errorf("%s: %d answers, the slowest took %v", identity, n, slowest)
		}
	})
}
