package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"holdfast/proc"
)

// Callers call the chargers of a Load, each its own, one CALL after the other.
type Callers struct {
	Done atomic.Int64 // CALLs that were answered

	t       testing.TB
	stop    context.CancelFunc
	running sync.WaitGroup

	mu     sync.Mutex
	faults int
	first  []string
}

// Call starts a caller for each of so many chargers of a Load, spread over so
// many clients. They end with the test.
func (w *World) Call(chargers, clients int) *Callers {
	w.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	c := &Callers{t: w.t, stop: stop}
	var all []*proc.Client
	for i := range clients {
		client, err := proc.Dial(soon(w.t), proc.ClientConfig{
			Name: fmt.Sprint("caller-", i), Socket: w.Processors, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			stop()
			w.t.Fatal(err)
		}
		all = append(all, client)
	}
	for i := range chargers {
		c.running.Go(func() { c.call(ctx, all[i%clients], fmt.Sprintf("SIM-%05d", i)) })
	}
	w.t.Cleanup(func() {
		c.Stop()
		for _, client := range all {
			_ = client.Close() // the gateway may be dead
		}
	})
	return c
}

// call calls one charger until ctx ends. Its answer names it.
func (c *Callers) call(ctx context.Context, client *proc.Client, identity string) {
	for ctx.Err() == nil {
		answer, err := client.Call(context.WithoutCancel(ctx), identity, "DataTransfer", json.RawMessage(`{"vendorId":"test"}`))
		if err != nil {
			c.fault("%v", err)
			return
		}
		var body struct{ Status, Data string }
		if json.Unmarshal(answer, &body) != nil || body.Status != "Accepted" || !strings.HasPrefix(body.Data, identity+" ") {
			c.fault("%s: the answer is %s", identity, answer)
			return
		}
		c.Done.Add(1)
	}
}

func (c *Callers) fault(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.faults++; len(c.first) < 10 {
		c.first = append(c.first, fmt.Sprintf(format, args...))
	}
}

// More waits until n more CALLs were answered than now.
func (c *Callers) More(n int64) {
	c.t.Helper()
	want := c.Done.Load() + n
	Until(c.t, "answers to CALLs", func() bool { return c.Done.Load() >= want })
}

// Stop ends the callers, each when it has its answer.
func (c *Callers) Stop() {
	c.stop()
	c.running.Wait()
}

// Finish ends the callers, and holds what they saw against the promises: every
// CALL answered, by the charger that it was for.
func (c *Callers) Finish() {
	c.t.Helper()
	c.Stop()
	if c.faults > 0 {
		c.t.Errorf("%d callers got something else than an answer; first: %q", c.faults, c.first)
	}
	if c.Done.Load() == 0 {
		c.t.Error("no CALL was answered")
	}
}
