package logging

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Of lines of chargers that are alike a few are written, then their number; another
// window begins with a few again. Warnings and what operators ordered are always written.
func TestSummary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := new(slowReader)
		s := summarize(slog.NewTextHandler(b, nil), 3, []string{"opened", "closed", "refused"})
		log := slog.New(s)
		for i := range 10 {
			log.With("from", "a").Info("opened", "charger", i)
			log.Info("closed", "charger", i)
			log.Warn("opened", "charger", i)
			log.Info("operator", "order", i)
			if i == 4 {
				time.Sleep(summaryWindow - time.Second)
			}
		}
		count := func(text string, want int) {
			t.Helper()
			b.Lock()
			defer b.Unlock()
			if got := strings.Count(b.String(), text); got != want {
				t.Errorf("%s: %d lines, want %d\n%s", text, got, want, b.String())
			}
		}
		count("level=INFO msg=opened from=a", 3)
		count("level=WARN msg=opened", 10)
		count("msg=operator", 10)
		count("left_out", 0)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		for _, line := range []string{"opened", "closed"} {
			count(fmt.Sprintf(`msg="lines of the log were left out: too many were alike" line=%s written=3 left_out=7 since=`, line), 1)
		}
		b.Lock()
		b.Reset()
		b.Unlock()
		log.Info("opened")
		count("msg=opened", 1)
		time.Sleep(2 * summaryWindow)
		count("left_out", 0)
		for range 5 {
			log.Info("opened")
		}
		s.flush()
		count("left_out=2", 1)
		synctest.Wait()
		time.Sleep(summaryWindow)
		synctest.Wait()
		count("left_out", 1)
	})
}
