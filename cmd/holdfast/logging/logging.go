package logging

import (
	"io"
	"log/slog"
	"os"
)

// Options say how a log is written.
type Options struct {
	Program    string // what the journal calls it
	JSON       bool
	Level      slog.Level
	Burst      int      // lines of one message of OfChargers in summaryWindow; 0: all
	OfChargers []string // messages that each charger may cause, see summary
}

// New returns a log that goes to out. close writes what waits.
func New(out io.Writer, o Options) (log *slog.Logger, close func()) {
	w, handler := newHandler(out, o)
	if o.Burst == 0 {
		return slog.New(handler), w.close
	}
	s := summarize(handler, o.Burst, o.OfChargers)
	return slog.New(s), func() {
		s.flush()
		w.close()
	}
}

// newHandler writes to the journal in its own protocol, if it is at the other end of out
// and JSON was not asked for; else lines.
func newHandler(out io.Writer, o Options) (*writer, slog.Handler) {
	f, isFile := out.(*os.File)
	journal := isFile && toJournal(f, os.Getenv("JOURNAL_STREAM"))
	if journal && !o.JSON {
		if to, err := openJournal(journalSocket, o.Program); err == nil {
			w := newWriter(to)
			return w, newJournalHandler(w, o.Program, o.Level)
		}
	}
	w := newWriter(&stream{out, o.JSON, journal})
	opts := &slog.HandlerOptions{Level: o.Level}
	lines := func(to io.Writer) slog.Handler {
		if o.JSON {
			return slog.NewJSONHandler(to, opts)
		}
		return slog.NewTextHandler(to, opts)
	}
	if journal {
		return w, withSeverities(w, lines)
	}
	return w, lines(w)
}
