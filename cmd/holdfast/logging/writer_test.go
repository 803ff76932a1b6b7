package logging

import (
	"io"
	"strings"
	"sync"
	"testing"
)

// A log that nobody reads holds nobody up, has a bound, and says what it lost.
func TestLogNeverBlocks(t *testing.T) {
	to := new(slowReader)
	to.Lock()
	w := newWriter(&stream{Writer: to})
	line := []byte(strings.Repeat("x", 999) + "\n")
	for range 3 * maxLog / len(line) {
		if _, err := w.Write(line); err != nil {
			t.Fatal(err)
		}
	}
	w.mu.Lock()
	waiting := len(w.waiting)
	w.mu.Unlock()
	if waiting > maxLog {
		t.Errorf("%d bytes wait", waiting)
	}
	to.Unlock()
	w.close()
	if got := to.String(); !strings.Contains(got, "log lines dropped") || len(got) > 2*maxLog+len(line)+1000 {
		t.Errorf("%d bytes written, no word of what was lost: %v", len(got), !strings.Contains(got, "dropped"))
	}
	w = newWriter(&stream{Writer: io.Discard})
	w.close()
}

// slowReader takes no bytes until it is let.
type slowReader struct {
	sync.Mutex
	strings.Builder
}

func (s *slowReader) Write(b []byte) (int, error) {
	s.Lock()
	defer s.Unlock()
	return s.Builder.Write(b)
}
