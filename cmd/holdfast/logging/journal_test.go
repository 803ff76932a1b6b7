package logging

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// journal is the journal's end: it parses datagrams as systemd does.
type journal struct{ *net.UnixConn }

func newJournal(t *testing.T) (*journal, *slog.Logger) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	to, err := openJournal(path, "holdfast")
	if err != nil {
		t.Fatal(err)
	}
	w := newWriter(to)
	t.Cleanup(w.close)
	return &journal{l}, slog.New(newJournalHandler(w, "holdfast", slog.LevelInfo))
}

// next returns the fields of the next datagram; a name that comes twice is an error.
func (j *journal) next(t *testing.T) map[string]string {
	t.Helper()
	b := make([]byte, 1<<20)
	_ = j.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, err := j.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]string{}
	for b = b[:n]; len(b) > 0; {
		line, rest, _ := strings.Cut(string(b), "\n")
		name, value, simple := strings.Cut(line, "=")
		b = []byte(rest)
		if !simple {
			size := binary.LittleEndian.Uint64(b)
			value = string(b[8 : 8+size])
			if b[8+size] != '\n' {
				t.Fatalf("%s does not end", name)
			}
			b = b[9+size:]
		}
		if _, twice := fields[name]; twice || name == "" || strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" {
			t.Errorf("field %q", name)
		}
		fields[name] = value
	}
	return fields
}

func TestJournal(t *testing.T) {
	j, log := newJournal(t)
	log.Debug("not this")
	log.With("loop", 3).Warn("closed", "charger", "CP17", "code", 1006, "reason", "gone\nPRIORITY=0\nCHARGER=other", "priority", "0", "9 _ü-x", true)
	got := j.next(t)
	for name, want := range map[string]string{
		"PRIORITY": "4", "SYSLOG_IDENTIFIER": "holdfast", "EVENT": "closed", "CHARGER": "CP17", "CODE": "1006", "LOOP": "3", "X": "true",
		"REASON":  "gone\nPRIORITY=0\nCHARGER=other",
		"MESSAGE": `level=WARN msg=closed loop=3 charger=CP17 code=1006 reason="gone\nPRIORITY=0\nCHARGER=other" priority=0 "9 _ü-x"=true`,
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	if len(got) != 9 {
		t.Errorf("%d fields: %q", len(got), got)
	}
	log.WithGroup("tls").Info("a", "version", "1.3", slog.Group("key", "bits", 256))
	if got := j.next(t); got["TLS_VERSION"] != "1.3" || got["TLS_KEY_BITS"] != "256" || got["PRIORITY"] != "6" {
		t.Errorf("%q", got)
	}
	log.Error("long", "charger", "CP1", "text", strings.Repeat("x", 2*maxDatagram))
	if got := j.next(t); len(got) != 3 || !strings.HasPrefix(got["MESSAGE"], "level=ERROR msg=long charger=CP1") || got["PRIORITY"] != "3" {
		t.Errorf("%d fields, %.100q", len(got), got["MESSAGE"])
	}
}

// What was dropped is told in the same way.
func TestJournalTellsOfLoss(t *testing.T) {
	j, _ := newJournal(t)
	to, err := openJournal(j.LocalAddr().String(), "holdfast")
	if err != nil {
		t.Fatal(err)
	}
	to.write(to.lost(nil, 7))
	if got := j.next(t); got["LINES"] != "7" || got["EVENT"] != lostMessage || got["PRIORITY"] != "4" {
		t.Errorf("%q", got)
	}
}

func TestFieldNames(t *testing.T) {
	for key, want := range map[string]string{"charger": "CHARGER", "left_out": "LEFT_OUT", "_secret": "SECRET", "9": "", "": "", "ü": "", "message": "", strings.Repeat("a", 100): strings.Repeat("A", 64)} {
		if got := fieldName(key); got != want {
			t.Errorf("%.20q: %q, want %q", key, got, want)
		}
	}
	if got := fmt.Sprintf("%q", appendField(nil, "A", "b\nc")); got != `"A\n\x03\x00\x00\x00\x00\x00\x00\x00b\nc\n"` {
		t.Error(got)
	}
}

// A journal that was restarted, at the same place, gets what comes then.
func TestJournalComesBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	listen := func() *journal {
		t.Helper()
		l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		return &journal{l}
	}
	first := listen()
	to, err := openJournal(path, "holdfast")
	if err != nil {
		t.Fatal(err)
	}
	to.write(to.lost(nil, 1))
	if got := first.next(t); got["LINES"] != "1" {
		t.Errorf("%q", got)
	}
	first.Close()
	to.write(to.lost(nil, 2)) // nobody is there
	_ = os.Remove(path)
	second := listen()
	defer second.Close()
	to.write(to.lost(nil, 3))
	if got := second.next(t); got["LINES"] != "3" {
		t.Errorf("%q", got)
	}
}
