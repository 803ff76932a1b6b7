package credentials

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"holdfast/conn"

	"golang.org/x/sys/unix"
)

// The blocks file has a line for each charger, or range of addresses, that may not
// connect:
//
//	charger IDENTITY UNTIL REASON
//	address PREFIX UNTIL REASON
//
// with the identity percent-encoded as in its URL, the time until when in RFC 3339, or -
// for ever, and the reason, which may be empty. The gateway writes it anew, whole, for each
// order of an operator; an editor may, too.

// A Block is one of them.
type Block struct {
	Identity string       // empty: of addresses
	Prefix   netip.Prefix // of addresses
	Until    time.Time    // zero: for ever
	Reason   string
}

// Target returns whom b blocks, as an operator writes it.
func (b Block) Target() string {
	if b.Identity != "" {
		return b.Identity
	}
	return b.Prefix.String()
}

// ParseTarget reads an address, a range of addresses, or else a charger's identity.
func ParseTarget(text string) (b Block, err error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return Block{Prefix: netip.PrefixFrom(a, a.BitLen())}, nil
	}
	if p, err := netip.ParsePrefix(text); err == nil {
		return Block{Prefix: p.Masked()}, nil
	}
	return Block{Identity: text}, conn.CheckIdentity(text)
}

// Blocks are those who may not connect.
type Blocks struct {
	path string

	mu   sync.Mutex
	all  []Block // sorted by target; some may be over
	by   map[string]Block
	seen stamp // of what all was read from
}

// NewBlocks reads the file; one that is not there has nobody in it. The error is one for
// each line at fault, and names it.
func NewBlocks(path string) (*Blocks, error) {
	b := &Blocks{path: path}
	return b, b.refresh()
}

// CheckBlocks is NewBlocks for a gateway that is to write the file, too.
func CheckBlocks(path string) error {
	if _, err := NewBlocks(path); err != nil {
		return err
	}
	if err := unix.Access(filepath.Dir(path), unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("blocks: %s: %w (the gateway writes the file anew)", filepath.Dir(path), err)
	}
	return nil
}

// refresh reads the file if it has changed: another process, which is leaving, or an
// editor may have done that. If it is wrong, what was known stays.
func (b *Blocks) refresh() error {
	now, err := stampOf(b.path)
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("blocks: %w", err)
	}
	if now == b.seen && b.by != nil {
		return nil
	}
	text, err := os.ReadFile(b.path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("blocks: %w", err)
	}
	var all []Block
	var faults lineFaults
	for i, line := range bytes.Split(text, []byte("\n")) {
		block, err := parseBlock(strings.TrimSuffix(string(line), "\r"))
		switch {
		case err != nil:
			faults.add(fmt.Errorf("blocks %s:%d: %w", b.path, i+1, err))
		case block != (Block{}):
			all = append(all, block)
		}
	}
	if err := faults.err("blocks " + b.path); err != nil {
		return err
	}
	b.seen = now
	b.set(all)
	return nil
}

// set takes blocks; of two with one target, the last.
func (b *Blocks) set(all []Block) {
	b.by = make(map[string]Block, len(all))
	for _, block := range all {
		b.by[block.Target()] = block
	}
	b.all = b.all[:0]
	for _, block := range b.by {
		b.all = append(b.all, block)
	}
	slices.SortFunc(b.all, func(x, y Block) int { return cmp.Compare(x.Target(), y.Target()) })
}

// Watch reads the file again when it changes, so that the log tells what is wrong.
func (b *Blocks) Watch(log *slog.Logger) {
	watchFiles([]string{b.path}, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if err := b.refresh(); err != nil {
			log.Error("blocks stay as they were", "err", err)
		}
	})
}

// parseBlock parses a line; the zero Block is a comment.
func parseBlock(line string) (b Block, err error) {
	if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
		return b, nil
	}
	parts := strings.SplitN(line, " ", 4)
	if len(parts) < 3 {
		return b, errBlock
	}
	switch parts[0] {
	case "charger":
		if b.Identity, err = url.PathUnescape(parts[1]); err == nil {
			err = conn.CheckIdentity(b.Identity)
		}
	case "address":
		if b.Prefix, err = netip.ParsePrefix(parts[1]); err == nil && b.Prefix != b.Prefix.Masked() {
			err = fmt.Errorf("%s has bits behind its length: %s", b.Prefix, b.Prefix.Masked())
		}
	default:
		err = fmt.Errorf("%.40q is neither charger nor address", parts[0])
	}
	if err == nil && parts[2] != "-" {
		b.Until, err = time.Parse(time.RFC3339, parts[2])
	}
	if err != nil {
		return Block{}, errors.Join(errBlock, err)
	}
	if len(parts) == 4 {
		b.Reason = parts[3]
	}
	return b, nil
}

var errBlock = errors.New("want charger and an identity, percent-encoded, or address and a range, then the time in RFC 3339 until when, or -, and a reason")

// appendTo appends the line of b.
func (b Block) appendTo(dst []byte) []byte {
	if b.Identity != "" {
		dst = append(append(dst, "charger "...), url.PathEscape(b.Identity)...)
	} else {
		dst = append(append(dst, "address "...), b.Prefix.String()...)
	}
	dst = append(dst, ' ')
	if b.Until.IsZero() {
		dst = append(dst, '-')
	} else {
		dst = b.Until.UTC().AppendFormat(dst, time.RFC3339)
	}
	return append(append(append(dst, ' '), strings.Join(strings.Fields(b.Reason), " ")...), '\n')
}

// over reports whether b holds no more.
func (b Block) over(now time.Time) bool { return !b.Until.IsZero() && !now.Before(b.Until) }

// OfCharger returns the block of a charger.
func (b *Blocks) OfCharger(identity string) (block Block, blocked bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	_ = b.refresh()
	block, blocked = b.by[identity]
	return block, blocked && block.Identity != "" && !block.over(time.Now())
}

// OfAddress returns the block that an address is in.
func (b *Blocks) OfAddress(a netip.Addr) (block Block, blocked bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	_ = b.refresh()
	a = a.Unmap()
	for _, block := range b.all {
		if block.Identity == "" && block.Prefix.Contains(a) && !block.over(time.Now()) {
			return block, true
		}
	}
	return Block{}, false
}

// All returns those that hold, sorted by target.
func (b *Blocks) All() []Block {
	b.mu.Lock()
	defer b.mu.Unlock()
	_ = b.refresh()
	return slices.DeleteFunc(slices.Clone(b.all), func(block Block) bool { return block.over(time.Now()) })
}

// Add blocks somebody, in place of another block of the same target. It is on the disk when
// Add returns without an error.
func (b *Blocks) Add(block Block) error {
	return b.change(func(all []Block) ([]Block, bool) { return append(all, block), true })
}

// Remove takes the block of a target back. It reports false if there is none.
func (b *Blocks) Remove(target string) (removed bool, err error) {
	err = b.change(func(all []Block) ([]Block, bool) {
		left := slices.DeleteFunc(all, func(block Block) bool { return block.Target() == target })
		removed = len(left) < len(all)
		return left, removed
	})
	return removed, err
}

// change writes the file anew, beside it and then in its place, without those that are
// over.
func (b *Blocks) change(f func([]Block) ([]Block, bool)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.refresh(); err != nil {
		return err // what an operator has written there is not to be lost
	}
	left := slices.DeleteFunc(slices.Clone(b.all), func(block Block) bool { return block.over(time.Now()) })
	all, changed := f(left)
	if !changed {
		return nil
	}
	var next Blocks
	next.set(all)
	text := []byte("# Who may not connect: holdfast block, unblock and blocks.\n")
	for _, block := range next.all {
		text = block.appendTo(text)
	}
	if err := replaceFile(b.path, text); err != nil {
		return fmt.Errorf("blocks: %w", err)
	}
	b.all, b.by = next.all, next.by
	b.seen, _ = stampOf(b.path)
	return nil
}

// replaceFile puts a file in the place of another, whole, and on the disk.
func replaceFile(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return err
	}
	return syncDirectory(filepath.Dir(path))
}
