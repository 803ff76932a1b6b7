package logging

import (
	"io"
	"log/slog"

	"holdfast/cmd/holdfast/config"
)

// New returns the log that a configuration asks for, which goes to out. close writes
// what waits.
func New(c *config.Config, out io.Writer) (log *slog.Logger, close func()) {
	w := newWriter(out, c.LogFormat == "json")
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.LogLevel)) // one of the choices
	opts := &slog.HandlerOptions{Level: level}
	newHandler := func(to io.Writer) slog.Handler {
		if w.json {
			return slog.NewJSONHandler(to, opts)
		}
		return slog.NewTextHandler(to, opts)
	}
	handler := newHandler(w)
	if w.journal {
		handler = withSeverities(w, newHandler)
	}
	if c.LogBurst == 0 {
		return slog.New(handler), w.close
	}
	s := summarize(handler, c.LogBurst)
	return slog.New(s), func() {
		s.flush()
		w.close()
	}
}
