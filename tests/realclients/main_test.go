package realclients

import (
	"os"
	"testing"
	"time"

	"holdfast/tests/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// must is for answers: a CALLERROR, a time-out or an answer that does not validate
// is an error of these clients.
func must[T any](t *testing.T, what string) func(T, error) T {
	t.Helper()
	return func(answer T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		return answer
	}
}

// fresh fails the test if a clock of the central system is off.
func fresh(t *testing.T, what string, at time.Time) {
	t.Helper()
	if d := time.Since(at); d < -time.Minute || d > time.Minute {
		t.Errorf("%s: the current time is %v, off by %v", what, at, d)
	}
}
