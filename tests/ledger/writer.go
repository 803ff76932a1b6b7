package ledger

import (
	"fmt"
	"os"
)

// Writer appends lines to a ledger. Not for concurrent use; each link has its own.
type Writer struct {
	file *os.File
	name string
	buf  []byte
}

// Open opens the ledger for the processor of this name.
func Open(path, name string) (*Writer, error) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return &Writer{file: f, name: name, buf: []byte("\n")}, nil
}

// Add notes a message. It is in the file after Flush.
func (w *Writer) Add(identity, messageID string, redelivered bool) {
	flag := "-"
	if redelivered {
		flag = "r"
	}
	w.buf = fmt.Appendf(w.buf, "%s %s %s %s\n", w.name, identity, messageID, flag)
}

// Flush writes what was added in one write, so that no other's lines come between.
// It begins with a new line: the one before may be of a processor that was killed in
// the middle of its write.
func (w *Writer) Flush() error {
	if len(w.buf) == 1 {
		return nil
	}
	_, err := w.file.Write(w.buf)
	w.buf = w.buf[:1]
	return err
}

// Close closes the file. What was not flushed is not in it.
func (w *Writer) Close() error { return w.file.Close() }
