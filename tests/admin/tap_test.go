package admin

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast/tests/harness"
)

// A tap goes on through upgrades: each message is seen once, in both directions
// and in order.
func TestTapAcrossUpgrades(t *testing.T) {
	const messages, upgrades = 2000, 5
	w := harness.New(t)
	w.Processor("p")
	c := connect(t, w, "CP-1")
	tap := w.Run("tap", harness.Holdfast(), "tap", "-json", "-admin-socket", w.AdminSocket(), "CP-*")
	// It says nothing by itself; the first message that it shows tells that it looks.
	harness.Until(t, "the tap", func() bool {
		c.send(`[2,"probe","Heartbeat",{}]`)
		<-c.answered
		return tap.Log.Contains(`"probe"`)
	})
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		pace := time.NewTicker(time.Millisecond)
		defer pace.Stop()
		for n := range messages {
			<-pace.C
			c.send(fmt.Sprintf(`[2,"n%d","Heartbeat",{}]`, n))
		}
	}()
	for range upgrades {
		upgraded(t, w)
	}
	<-sent
	last := fmt.Sprintf(`[3,"n%d",`, messages-1)
	harness.Until(t, "the last answer in the tap", func() bool { return tap.Log.Contains(last) })
	next := map[string]int{}
	for _, line := range tap.Log.Lines() {
		message, _ := line.Fields["message"].([]any)
		if len(message) < 2 {
			t.Fatalf("the tap said %s", line.Text)
		}
		id, _ := message[1].(string)
		number, counted := strings.CutPrefix(id, "n")
		if !counted {
			continue
		}
		direction := line.String("direction")
		if want := fmt.Sprint(next[direction]); number != want {
			t.Fatalf("%s: number %s, want %s", direction, number, want)
		}
		next[direction]++
	}
	if next["in"] != messages || next["out"] != messages {
		t.Errorf("of %d messages the tap has shown %d, and %d answers", messages, next["in"], next["out"])
	}
	if err := tap.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	<-tap.Exited()
	if err := tap.Err(); err != nil {
		t.Errorf("the tap ended with %v", err)
	}
}
