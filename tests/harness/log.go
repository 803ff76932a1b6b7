package harness

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"
)

// Line is a line of a log: the text, and its fields if it was JSON.
type Line struct {
	Text   string
	Fields map[string]any
}

// Msg is the field "msg", or "".
func (l Line) Msg() string { return l.String("msg") }

// String is a field, or "" if it is missing or no string.
func (l Line) String(field string) string {
	s, _ := l.Fields[field].(string)
	return s
}

// Log is what a process wrote, on standard output and standard error.
type Log struct {
	mu    sync.Mutex
	lines []Line
	more  chan struct{} // closed and replaced with each line
}

func newLog() *Log { return &Log{more: make(chan struct{})} }

func (g *Log) add(text string) {
	l := Line{Text: text}
	if strings.HasPrefix(text, "{") {
		_ = json.Unmarshal([]byte(text), &l.Fields) // else it is only text
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lines = append(g.lines, l)
	close(g.more)
	g.more = make(chan struct{})
}

// after returns the lines from number n on, and a channel that is closed when
// there are more.
func (g *Log) after(n int) ([]Line, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.lines[n:len(g.lines):len(g.lines)], g.more
}

// Lines returns all lines so far.
func (g *Log) Lines() []Line {
	lines, _ := g.after(0)
	return lines
}

// Tail returns the last n lines.
func (g *Log) Tail(n int) string {
	lines := g.Lines()
	lines = lines[max(0, len(lines)-n):]
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(l.Text)
		b.WriteByte('\n')
	}
	return b.String()
}

// From returns n lines from the first one that contains the text.
func (g *Log) From(text string, n int) string {
	lines := g.Lines()
	i := slices.IndexFunc(lines, func(l Line) bool { return strings.Contains(l.Text, text) })
	if i < 0 {
		return ""
	}
	var b strings.Builder
	for _, l := range lines[i:min(len(lines), i+n)] {
		b.WriteString(l.Text)
		b.WriteByte('\n')
	}
	return b.String()
}

// Contains says whether any line contains the text.
func (g *Log) Contains(text string) bool {
	for _, l := range g.Lines() {
		if strings.Contains(l.Text, text) {
			return true
		}
	}
	return false
}
