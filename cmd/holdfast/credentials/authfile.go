package credentials

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"holdfast/conn"

	"golang.org/x/sys/unix"
)

// The auth-file has one charger a line, as `holdfast passwd` makes it:
//
//	identity:sha256:salt:hash
//
// with the salt (16 bytes) and SHA-256(salt, password) in hexadecimal; lines
// that begin with # are comments. docs/adr/0004 says why not bcrypt.

// Credential is what is known of a charger's password.
type Credential struct {
	salt [16]byte
	hash [sha256.Size]byte
}

func (c Credential) String() string { return fmt.Sprintf("sha256:%x:%x", c.salt, c.hash) }

// New returns the credential of a password.
func New(salt [16]byte, password []byte) Credential {
	return Credential{salt, sha256.Sum256(append(salt[:], password...))}
}

// matches tells whether password is the right one, in constant time. With
// anyHex its spelling in hexadecimal counts as the same: some chargers send the
// 20 bytes of an OCPP key, others its 40 digits, and either may be in the file.
func (c Credential) matches(password []byte, anyHex bool) bool {
	spellings := [][]byte{password}
	if anyHex {
		digits := hex.EncodeToString(password)
		spellings = append(spellings, []byte(digits), []byte(strings.ToUpper(digits)))
		if raw, err := hex.DecodeString(string(password)); err == nil {
			lower := hex.EncodeToString(raw)
			spellings = append(spellings, raw, []byte(lower), []byte(strings.ToUpper(lower)))
		}
	}
	right := 0
	for _, s := range spellings {
		sum := New(c.salt, s)
		right |= subtle.ConstantTimeCompare(sum.hash[:], c.hash[:])
	}
	return right == 1
}

// readAuthFile reads an auth-file. The error is one for each line at fault, and names it.
func readAuthFile(path string) (map[string]Credential, error) {
	b, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("auth-file: %w", err)
	}
	if bytes.HasPrefix(b, []byte("\xef\xbb\xbf")) {
		return nil, fmt.Errorf("auth-file %s:1: it begins with a byte-order mark: save it without one", path)
	}
	all := make(map[string]Credential)
	var faults lineFaults
	n := 0
	for line := range strings.Lines(string(b)) {
		n++
		if line = strings.TrimRight(line, "\r\n"); strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
			continue
		}
		identity, c, err := parseCredential(line)
		if _, twice := all[identity]; err == nil && twice {
			err = fmt.Errorf("%s stands there twice", identity)
		}
		if err != nil {
			faults.add(fmt.Errorf("auth-file %s:%d: %w", path, n, err))
		} else {
			all[identity] = c
		}
	}
	if err := faults.err("auth-file " + path); err != nil {
		return nil, err
	}
	return all, nil
}

func parseCredential(line string) (identity string, c Credential, err error) {
	parts := strings.Split(line, ":")
	if len(parts) < 4 || parts[len(parts)-3] != "sha256" {
		return "", c, errors.New("want identity:sha256:salt:hash, as holdfast passwd makes it")
	}
	identity = strings.Join(parts[:len(parts)-3], ":")
	switch err := conn.CheckIdentity(identity); {
	case err != nil:
		return "", c, err
	case strings.Contains(identity, ":sha256:"):
		return "", c, errors.New("two chargers in one line")
	case strings.TrimSpace(identity) != identity:
		return "", c, errors.New("white space around the identity")
	}
	for i, to := range [][]byte{c.salt[:], c.hash[:]} {
		digits := parts[len(parts)-2+i]
		if len(digits) != 2*len(to) {
			return "", c, fmt.Errorf("salt and hash have %d and %d hexadecimal digits", 2*len(c.salt), 2*len(c.hash))
		}
		if _, err := hex.Decode(to, []byte(digits)); err != nil {
			return "", c, fmt.Errorf("salt and hash are hexadecimal: %w", err)
		}
	}
	return identity, c, nil
}

// Passwords is an auth-file in use.
type Passwords struct {
	path    string
	anyHex  bool
	current atomic.Pointer[map[string]Credential]
}

// NewPasswords reads an auth-file. With anyHex a password and its spelling in
// hexadecimal are the same.
func NewPasswords(path string, anyHex bool) (*Passwords, error) {
	p := &Passwords{path: path, anyHex: anyHex}
	return p, p.load()
}

func (p *Passwords) load() error {
	all, err := readAuthFile(p.path)
	if err == nil {
		p.current.Store(&all)
	}
	return err
}

// Watch reads the file again when it changes; one that is wrong changes nothing.
func (p *Passwords) Watch(log *slog.Logger) {
	watchFiles([]string{p.path}, func() {
		if err := p.load(); err != nil {
			log.Error("passwords stay as they were", "err", err)
			return
		}
		log.Info("passwords read again", "chargers", len(*p.current.Load()))
	})
}

// Check tells whether identity is known, and password its own.
// A line feed, a carriage return or a NUL behind the password counts for nothing, unless
// it belongs to it: some firmware sends the end of its line or of its string, too.
func (p *Passwords) Check(identity string, password []byte) (known, right bool) {
	c, known := (*p.current.Load())[identity]
	right = c.matches(password, p.anyHex)
	if trimmed := bytes.TrimRight(password, "\r\n\x00"); len(trimmed) < len(password) {
		right = c.matches(trimmed, p.anyHex) || right
	}
	return known, known && right
}

// ChangeAuthFile puts entry, or nothing if it is empty, in the place of the
// identity's line, and leaves all others as they are. Whoever reads the file
// sees either the old one or the new one. The file keeps its owner and its mode; a new
// one has mode 0600, and belongs to owner unless that is negative.
func ChangeAuthFile(path, identity, entry string, owner int) error {
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("passwd: %w", err)
	}
	var b strings.Builder
	found := false
	for line := range strings.Lines(string(old)) {
		line = strings.TrimRight(line, "\r\n")
		if name, _, err := parseCredential(line); err == nil && name == identity {
			found = true
			if line = entry; entry == "" {
				continue
			}
		}
		fmt.Fprintln(&b, line)
	}
	switch {
	case !found && entry == "":
		return fmt.Errorf("passwd: %s is not in %s", identity, path)
	case !found:
		fmt.Fprintln(&b, entry)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new")
	if err != nil {
		return fmt.Errorf("passwd: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }() // fails when it was renamed
	_, err = f.WriteString(b.String())
	if err == nil {
		err = keepOwner(f, path, owner)
	}
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("passwd: %w", err)
	}
	return nil
}

// keepOwner gives f mode, owner and group of path; if there is none, owner.
func keepOwner(f *os.File, path string, owner int) error {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil { // it is new
		return errors.Join(f.Chmod(0o600), f.Chown(owner, -1))
	}
	if err := f.Chmod(os.FileMode(st.Mode & 0o777)); err != nil {
		return err
	}
	return f.Chown(int(st.Uid), int(st.Gid))
}
