package logging

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Under systemd the log goes to the journal in its own protocol, with a field for each
// attribute: `journalctl CHARGER=CP17 EVENT=closed` finds what concerns a charger, whatever
// its line says. The message is the line as it would be elsewhere, without its time, which the
// journal has.

// journalSocket is where the journal takes datagrams: systemd.io/JOURNAL_NATIVE_PROTOCOL.
const journalSocket = "/run/systemd/journal/socket"

// journalOutput sends each record of a batch as a datagram.
type journalOutput struct {
	conn    *net.UnixConn
	socket  string
	program string
}

// openJournal connects with the journal.
func openJournal(socket, program string) (*journalOutput, error) {
	j := &journalOutput{socket: socket, program: program}
	return j, j.connect()
}

func (j *journalOutput) connect() error {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: j.socket, Net: "unixgram"})
	if err != nil {
		return err
	}
	if j.conn != nil {
		_ = j.conn.Close()
	}
	j.conn = conn
	return nil
}

// maxDatagram is the longest record, in bytes: far below what the kernel takes. A longer
// one loses its fields, and the end of its message.
const maxDatagram = 64 << 10

// write implements output. A record is its length, 4 bytes, and its fields.
func (j *journalOutput) write(batch []byte) {
	for len(batch) >= 4 {
		n := binary.BigEndian.Uint32(batch)
		record := batch[4 : 4+n]
		batch = batch[4+n:]
		if _, err := j.conn.Write(record); err != nil && j.connect() == nil {
			_, _ = j.conn.Write(record) // there is nowhere to report it
		}
	}
}

// lost implements output.
func (j *journalOutput) lost(dst []byte, lines int) []byte {
	r := slog.NewRecord(time.Now(), slog.LevelWarn, lostMessage, 0)
	r.AddAttrs(slog.Int("lines", lines))
	var buf bytes.Buffer
	_ = newJournalHandler(&buf, j.program, slog.LevelWarn).Handle(context.Background(), r)
	return append(dst, buf.Bytes()...)
}

// journalHandler makes the records of a journalOutput.
type journalHandler struct {
	*journalLine
	text   slog.Handler // writes into line
	fields []byte       // of the attributes that all its records have
	group  string       // before the names of further ones
}

// journalLine is what the handlers derived from one share.
type journalLine struct {
	mu      sync.Mutex
	out     io.Writer
	program string
	line    bytes.Buffer
}

func newJournalHandler(out io.Writer, program string, level slog.Level) *journalHandler {
	l := &journalLine{out: out, program: program}
	return &journalHandler{journalLine: l, text: slog.NewTextHandler(&l.line, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	})}
}

// Enabled implements slog.Handler.
func (h *journalHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.text.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h *journalHandler) Handle(ctx context.Context, r slog.Record) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.line.Reset()
	if err := h.text.Handle(ctx, r); err != nil {
		return err
	}
	message := bytes.TrimSuffix(h.line.Bytes(), []byte("\n"))
	record := make([]byte, 4, 4+2*len(message)+128)
	record = appendField(record, "PRIORITY", priority(r.Level))
	record = appendField(record, "SYSLOG_IDENTIFIER", h.program)
	head := len(record)
	record = appendField(record, "MESSAGE", string(message))
	record = appendField(record, "EVENT", r.Message)
	record = append(record, h.fields...)
	r.Attrs(func(a slog.Attr) bool {
		record = appendAttr(record, h.group, a)
		return true
	})
	if len(record) > maxDatagram {
		record = appendField(record[:head], "MESSAGE", string(message[:min(len(message), maxDatagram/2)]))
	}
	binary.BigEndian.PutUint32(record, uint32(len(record)-4))
	_, err := h.out.Write(record)
	return err
}

// WithAttrs implements slog.Handler.
func (h *journalHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	next.text = h.text.WithAttrs(attrs)
	next.fields = bytes.Clone(h.fields)
	for _, a := range attrs {
		next.fields = appendAttr(next.fields, h.group, a)
	}
	return &next
}

// WithGroup implements slog.Handler.
func (h *journalHandler) WithGroup(name string) slog.Handler {
	next := *h
	next.text, next.group = h.text.WithGroup(name), h.group+name+"_"
	return &next
}

// appendAttr appends the field of an attribute.
func appendAttr(dst []byte, group string, a slog.Attr) []byte {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		for _, inner := range v.Group() {
			dst = appendAttr(dst, group+a.Key+"_", inner)
		}
		return dst
	}
	if name := fieldName(group + a.Key); name != "" {
		dst = appendField(dst, name, v.String())
	}
	return dst
}

// fieldName makes an attribute's name one that the journal takes: capitals, digits and
// underscores, none of these first, at most 64. Those that the journal or we give a
// meaning of their own are left out.
func fieldName(key string) string {
	name := strings.TrimLeft(strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, key), "_0123456789")
	switch name = name[:min(len(name), 64)]; name {
	case "MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "EVENT":
		return ""
	}
	return name
}

// appendField appends a field: NAME=value, or, for a value of several lines, NAME, its
// length and its bytes. So nothing from outside can make another field.
func appendField(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	if strings.IndexByte(value, '\n') < 0 {
		return append(append(append(dst, '='), value...), '\n')
	}
	dst = append(dst, '\n')
	dst = binary.LittleEndian.AppendUint64(dst, uint64(len(value)))
	return append(append(dst, value...), '\n')
}

// priority is a level as syslog counts.
func priority(level slog.Level) string {
	for _, s := range severities {
		if level >= s.level {
			return strings.Trim(s.prefix, "<>")
		}
	}
	return strconv.Itoa(7)
}
