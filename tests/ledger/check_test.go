package ledger

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name       string
		lines      []string
		violations int64
	}{
		{"in order", []string{"a C0 r.0.1 -", "a C0 r.0.2 -", "a C0 r.0.3 -"}, 0},
		{"two chargers", []string{"a C0 r.0.1 -", "a C1 r.1.1 -", "a C0 r.0.2 -", "a C1 r.1.2 -"}, 0},
		{"two runs", []string{"a C0 r.0.1 -", "a C0 s.0.1 -"}, 0},
		{"redelivered", []string{"a C0 r.0.1 -", "a C0 r.0.2 -", "b C0 r.0.1 r", "b C0 r.0.2 r", "b C0 r.0.3 -"}, 0},
		{"redelivered, never seen", []string{"b C0 r.0.1 r", "b C0 r.0.2 -"}, 0},
		{"a hung one reads on", []string{"b C0 r.0.1 r", "a C0 r.0.1 -", "b C0 r.0.2 -"}, 0},
		{"again, not flagged", []string{"a C0 r.0.1 -", "a C0 r.0.1 -"}, 1},
		{"gap", []string{"a C0 r.0.1 -", "a C0 r.0.3 -"}, 1},
		{"swapped", []string{"a C0 r.0.1 -", "a C0 r.0.3 -", "a C0 r.0.2 -"}, 2},
		{"torn by a death", []string{"a C0 r.0.1 -", "a C0 r.0.", "b C0 r.0.2 r", "", "b", "b C0 r.0.3 -"}, 0},
		{"first is missing", []string{"a C0 r.0.2 -"}, 1},
	} {
		s, err := Check(strings.NewReader(strings.Join(c.lines, "\n") + "\n"))
		if err != nil || s.Violations != c.violations || (s.Err() == nil) != (c.violations == 0) {
			t.Errorf("%s: %v, %+v", c.name, err, s)
		}
	}
	for _, nonsense := range []string{"a C0 nonsense -\n", "a C0 r.0.1 - a C0 r.0.2 -\n"} {
		if _, err := Check(strings.NewReader(nonsense)); err == nil {
			t.Errorf("%q passed", nonsense)
		}
	}
}

func TestWriterAppends(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	for _, name := range []string{"a", "b"} {
		w, err := Open(path, name)
		if err != nil {
			t.Fatal(err)
		}
		w.Add("C0", "r.0.1", name == "b")
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		w.Close()
	}
	s, err := CheckFile(path)
	if err != nil || s.Err() != nil || s.Messages != 2 || s.Distinct != 1 || s.Redelivered != 1 || s.Moves != 1 {
		t.Fatalf("%v, %+v", err, s)
	}
}
