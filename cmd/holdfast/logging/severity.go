package logging

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"syscall"
)

// Under systemd each line of the log begins with its level, sd-daemon(3), so that
// `journalctl -p warning` finds it. The journal takes it off again.
var severities = [...]struct {
	level  slog.Level
	prefix string
}{
	{slog.LevelError, "<3>"},
	{slog.LevelWarn, "<4>"},
	{slog.LevelInfo, "<6>"},
	{slog.LevelDebug, "<7>"},
}

// severityHandler is a handler for each level, which writes its prefix.
type severityHandler [len(severities)]slog.Handler

// withSeverities makes what newHandler makes, with prefixes.
func withSeverities(w io.Writer, newHandler func(io.Writer) slog.Handler) slog.Handler {
	var h severityHandler
	for i, s := range severities {
		h[i] = newHandler(prefixWriter{w, s.prefix})
	}
	return h
}

func (h severityHandler) of(level slog.Level) slog.Handler {
	for i, s := range severities {
		if level >= s.level {
			return h[i]
		}
	}
	return h[len(h)-1]
}

// Enabled implements slog.Handler.
func (h severityHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.of(level).Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h severityHandler) Handle(ctx context.Context, r slog.Record) error {
	return h.of(r.Level).Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h severityHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	for i := range h {
		h[i] = h[i].WithAttrs(attrs)
	}
	return h
}

// WithGroup implements slog.Handler.
func (h severityHandler) WithGroup(name string) slog.Handler {
	for i := range h {
		h[i] = h[i].WithGroup(name)
	}
	return h
}

// prefixWriter writes each line behind a prefix, in one write.
type prefixWriter struct {
	io.Writer
	prefix string
}

func (w prefixWriter) Write(line []byte) (int, error) {
	_, err := w.Writer.Write(append([]byte(w.prefix), line...))
	return len(line), err
}

// toJournal reports whether f is connected with the journal: systemd names the device
// and the inode of what it gave to the service, systemd.exec(5).
func toJournal(f *os.File, journalStream string) bool {
	var dev, inode uint64
	if n, err := fmt.Sscanf(journalStream, "%d:%d", &dev, &inode); n != 2 || err != nil {
		return false
	}
	info, err := f.Stat()
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && uint64(st.Dev) == dev && st.Ino == inode
}
