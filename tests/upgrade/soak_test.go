package upgrade

import (
	"context"
	"testing"
	"time"

	"holdfast/tests/harness"
	"holdfast/tests/upgrade/soak"
)

// TestSoak is a short one of `make soak`.
func TestSoak(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 5*harness.Deadline)
	defer cancel()
	r, err := soak.Run(ctx, soak.Config{
		Binaries: harness.Built(), Dir: t.TempDir(), Upgrades: 10, Chargers: 200, Rate: 500,
		Every: 300 * time.Millisecond, Loops: 2, Seed: 1, Out: t.Output(),
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Summary(t.Output())
	if err := r.Check(); err != nil {
		t.Error(err)
	}
}
