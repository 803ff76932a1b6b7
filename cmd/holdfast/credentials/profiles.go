package credentials

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"holdfast/conn"

	"golang.org/x/sys/unix"
)

// The security-profiles file has a line for each security profile that a charger has
// risen to:
//
//	identity profile
//
// with the identity percent-encoded as in its URL, and the profile 1, 2 or 3. The
// highest of a charger's lines counts. Lines are only ever appended, and written to the
// disk before the charger is let in: by the gateway that serves and, during an upgrade,
// by the one that is leaving as well. Whoever is to use a lower one again loses their
// lines by an editor.

// Profiles remembers the highest security profile that each charger has used.
type Profiles struct {
	path string

	mu      sync.Mutex
	highest map[string]uint8
	seen    stamp // of what highest was read from
	read    int64 // bytes of it that are whole lines
	lines   int   // in them
	waiting *batch
	writing bool
}

// batch is lines on their way to the disk together.
type batch struct {
	lines []byte
	done  chan struct{}
	err   error // once done is closed
}

// NewProfiles reads the file, and makes it if there is none. The error is one for each
// line at fault, and names it.
func NewProfiles(path string) (*Profiles, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("security-profiles: %w (the gateway appends to this file)", err)
	}
	_ = f.Close()
	if err := syncDirectory(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("security-profiles: %w", err)
	}
	p := &Profiles{path: path}
	return p, p.refresh()
}

// CheckProfiles is NewProfiles that makes nothing.
func CheckProfiles(path string) error {
	err := unix.Access(path, unix.R_OK|unix.W_OK)
	if errors.Is(err, unix.ENOENT) {
		path = filepath.Dir(path)
		err = unix.Access(path, unix.W_OK|unix.X_OK)
	} else if err == nil {
		return (&Profiles{path: path}).refresh()
	}
	if err != nil {
		return fmt.Errorf("security-profiles: %s: %w (the gateway appends to this file)", path, err)
	}
	return nil
}

// syncDirectory writes the names in a directory to the disk.
func syncDirectory(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Watch reads the file again when it changes; one that is wrong changes nothing.
func (p *Profiles) Watch(log *slog.Logger) {
	watchFiles([]string{p.path}, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if err := p.refresh(); err != nil {
			log.Error("security profiles stay as they were", "err", err)
		}
	})
}

// Use is for a charger that was let in with a profile; 0: by none. It returns the
// highest that the charger has ever used; it may not connect with a lower one. A
// higher one than before is on the disk when Use returns without an error.
func (p *Profiles) Use(identity string, profile uint8) (highest uint8, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.refresh() // Watch tells
	if highest = p.highest[identity]; profile <= highest {
		return highest, nil
	}
	if p.waiting == nil {
		p.waiting = &batch{done: make(chan struct{})}
	}
	mine := p.waiting
	mine.lines = fmt.Appendf(mine.lines, "%s %d\n", url.PathEscape(identity), profile)
	if !p.writing {
		p.writing = true
		go p.write()
	}
	p.mu.Unlock()
	<-mine.done
	p.mu.Lock()
	if mine.err != nil {
		return highest, mine.err
	}
	p.highest[identity] = max(p.highest[identity], profile)
	return profile, nil
}

// write appends what waits, all that came during one write with the next: a fleet
// that connects for the first time is not held up by a disk write for each charger.
func (p *Profiles) write() {
	for {
		p.mu.Lock()
		some := p.waiting
		p.waiting, p.writing = nil, some != nil
		p.mu.Unlock()
		if some == nil {
			return
		}
		if some.err = appendLines(p.path, some.lines); some.err != nil {
			some.err = fmt.Errorf("security-profiles: %w", some.err)
		}
		close(some.done)
	}
}

// appendLines appends to the file at path, behind its last whole line.
func appendLines(path string, lines []byte) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	// Two gateways append during an upgrade. The lock ends with the file.
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", path, err)
	}
	if err := mendEnd(f); err != nil {
		return err
	}
	if _, err := f.Write(lines); err != nil {
		return err
	}
	return f.Sync()
}

// mendEnd removes what a write has left that was cut short, as by a power cut. Nobody
// was let in for such a line. If it is whole but for the line feed, it gets that.
func mendEnd(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	tail := make([]byte, min(info.Size(), maxProfileLine))
	if _, err := f.ReadAt(tail, info.Size()-int64(len(tail))); err != nil {
		return err
	}
	last := tail[bytes.LastIndexByte(tail, '\n')+1:]
	if len(last) == 0 {
		return nil
	}
	if _, _, err := parseProfile(string(last)); err == nil {
		_, err = f.WriteString("\n")
		return err
	}
	return f.Truncate(info.Size() - int64(len(last)))
}

// maxProfileLine is longer than any line, in bytes: an identity is at most 255, each
// of them three when encoded.
const maxProfileLine = 4 << 10

// refresh reads what was added to the file since it was read last, or all of it if it
// is another one. If that fails, what was known stays.
func (p *Profiles) refresh() error {
	now, err := stampOf(p.path)
	switch {
	case err != nil:
		return fmt.Errorf("security-profiles: %w", err)
	case now == p.seen:
		return nil
	}
	from, number, all := p.read, p.lines, p.highest
	if now.inode != p.seen.inode || now.size <= p.seen.size {
		from, number, all = 0, 0, map[string]uint8{}
	}
	f, err := os.Open(p.path)
	if err != nil {
		return fmt.Errorf("security-profiles: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, from, now.size-from))
	if err != nil {
		return fmt.Errorf("security-profiles %s: %w", p.path, err)
	}
	added := map[string]uint8{}
	var faults lineFaults
	for line := range bytes.Lines(b) {
		text, whole := strings.CutSuffix(string(line), "\n")
		identity, profile, err := parseProfile(strings.TrimSuffix(text, "\r"))
		switch {
		case err == nil && identity != "":
			added[identity] = max(added[identity], profile)
		case err != nil && whole: // else see mendEnd
			faults.add(fmt.Errorf("security-profiles %s:%d: %w", p.path, number+1, err))
		}
		if whole {
			from += int64(len(line))
			number++
		}
	}
	if err := faults.err("security-profiles " + p.path); err != nil {
		return err
	}
	for identity, profile := range added {
		all[identity] = max(all[identity], profile)
	}
	p.highest, p.seen, p.read, p.lines = all, now, from, number
	return nil
}

// parseProfile parses a line without its end; identity is empty for a comment.
func parseProfile(line string) (identity string, profile uint8, err error) {
	if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
		return "", 0, nil
	}
	encoded, digit, _ := strings.Cut(line, " ")
	if identity, err = url.PathUnescape(encoded); err == nil {
		err = conn.CheckIdentity(identity)
	}
	if err != nil || len(digit) != 1 || digit < "1" || digit > "3" {
		return "", 0, errors.Join(errors.New("want the identity, percent-encoded, a space, and the security profile 1, 2 or 3"), err)
	}
	return identity, digit[0] - '0', nil
}
