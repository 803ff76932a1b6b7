package logging

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// summaryWindow is for how long lines of one message are counted: the journal's own
// window, RateLimitIntervalSec=. Beyond 10,000 lines in it, the journal drops any line.
const summaryWindow = 30 * time.Second

// A summary is a handler that passes on only so many lines of chargers of one message
// at info in a window, and then one that says how many there were beyond. Other lines
// are few, and some of them are an account of what was ordered: those are never left out. After a power
// cut each of 100,000 chargers has a line for its end and one for its return: with all
// of them, the journal would drop the warnings among them.
type summary struct {
	slog.Handler
	*burst
}

// burst is what the handlers derived from one share.
type burst struct {
	most    int
	of      []string     // messages that each charger may cause
	out     slog.Handler // for the lines that say what was withheld
	mu      sync.Mutex
	windows map[string]*window // by message of of
}

// window is what was logged of one message since it began.
type window struct {
	began           time.Time
	lines, withheld int
}

// summarize wraps out; most is at least 1.
func summarize(out slog.Handler, most int, of []string) *summary {
	return &summary{out, &burst{most: most, of: of, out: out, windows: map[string]*window{}}}
}

// Handle implements slog.Handler.
func (s *summary) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelWarn && slices.Contains(s.of, r.Message) && !s.room(r.Message, r.Time) {
		return nil
	}
	return s.Handler.Handle(ctx, r)
}

// room counts a line, and reports whether it is to be written.
func (b *burst) room(message string, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.windows[message]
	if w == nil {
		w = &window{began: now}
		b.windows[message] = w
	} else if w.withheld == 0 && now.Sub(w.began) >= summaryWindow {
		*w = window{began: now}
	}
	if w.lines++; w.lines <= b.most {
		return true
	}
	if w.withheld++; w.withheld == 1 {
		time.AfterFunc(w.began.Add(summaryWindow).Sub(now), func() { b.end(message) })
	}
	return false
}

// end writes how many lines were withheld, and begins another window.
func (b *burst) end(message string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if w := b.windows[message]; w != nil && w.withheld > 0 {
		r := slog.NewRecord(time.Now(), slog.LevelInfo, "lines of the log were left out: too many were alike", 0)
		r.AddAttrs(slog.String("line", message), slog.Int("written", b.most), slog.Int("left_out", w.withheld), slog.String("since", w.began.UTC().Format(time.RFC3339)))
		_ = b.out.Handle(context.Background(), r) // as slog.Logger does
		delete(b.windows, message)
	}
}

// flush ends all windows, before the process ends.
func (b *burst) flush() {
	b.mu.Lock()
	messages := make([]string, 0, len(b.windows))
	for m := range b.windows {
		messages = append(messages, m)
	}
	b.mu.Unlock()
	for _, m := range messages {
		b.end(m)
	}
}

// WithAttrs implements slog.Handler.
func (s *summary) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &summary{s.Handler.WithAttrs(attrs), s.burst}
}

// WithGroup implements slog.Handler.
func (s *summary) WithGroup(name string) slog.Handler {
	return &summary{s.Handler.WithGroup(name), s.burst}
}
