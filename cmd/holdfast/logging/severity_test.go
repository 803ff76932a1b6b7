package logging

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Each line begins with the level that the journal knows, also behind With.
func TestSeverities(t *testing.T) {
	var b bytes.Buffer
	log := slog.New(withSeverities(&b, func(w io.Writer) slog.Handler {
		return slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug})
	}))
	log.Error("e")
	log.With("charger", "CP-1").Warn("w")
	log.WithGroup("g").Info("i", "a", "two\nlines")
	log.Debug("d")
	log.Log(t.Context(), slog.LevelWarn+1, "more than a warning")
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	for i, want := range []string{"<3>", "<4>", "<6>", "<7>", "<4>"} {
		if i >= len(lines) || !strings.HasPrefix(lines[i], want+"time=") {
			t.Fatalf("line %d should begin with %s:\n%s", i+1, want, b.String())
		}
	}
	if len(lines) != 5 || !strings.Contains(lines[1], "charger=CP-1") {
		t.Errorf("got\n%s", b.String())
	}
}

// Only the very stream that systemd names is the journal's.
func TestToJournal(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "stream"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, _ := f.Stat()
	st := info.Sys().(*syscall.Stat_t)
	for stream, want := range map[string]bool{
		fmt.Sprintf("%d:%d", st.Dev, st.Ino):   true,
		fmt.Sprintf("%d:%d", st.Dev, st.Ino+1): false,
		fmt.Sprintf("%d:%d", st.Dev+1, st.Ino): false,
		"":                                     false,
		"x":                                    false,
	} {
		if got := toJournal(f, stream); got != want {
			t.Errorf("%q: %v", stream, got)
		}
	}
}
