package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"

	"holdfast/conn"
)

// The auth-file has one charger a line, as `holdfast passwd` makes it:
//
//	identity:sha256:salt:hash
//
// with the salt (16 bytes) and SHA-256(salt, password) in hexadecimal; lines
// that begin with # are comments. docs/adr/0004 says why not bcrypt.

// credential is what is known of a charger's password.
type credential struct {
	salt [16]byte
	hash [sha256.Size]byte
}

func (c credential) String() string { return fmt.Sprintf("sha256:%x:%x", c.salt, c.hash) }

func newCredential(salt [16]byte, password []byte) credential {
	return credential{salt, sha256.Sum256(append(salt[:], password...))}
}

// matches tells whether password is the right one, in constant time. With
// anyHex its spelling in hexadecimal counts as the same: some chargers send the
// 20 bytes of an OCPP key, others its 40 digits, and either may be in the file.
func (c credential) matches(password []byte, anyHex bool) bool {
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
		sum := newCredential(c.salt, s)
		right |= subtle.ConstantTimeCompare(sum.hash[:], c.hash[:])
	}
	return right == 1
}

// readAuthFile reads an auth-file; an error names the line.
func readAuthFile(path string) (map[string]credential, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("auth-file: %w", err)
	}
	all := make(map[string]credential)
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
			return nil, fmt.Errorf("auth-file %s:%d: %w", path, n, err)
		}
		all[identity] = c
	}
	return all, nil
}

func parseCredential(line string) (identity string, c credential, err error) {
	parts := strings.Split(line, ":")
	if len(parts) < 4 || parts[len(parts)-3] != "sha256" {
		return "", c, errors.New("want identity:sha256:salt:hash, as holdfast passwd makes it")
	}
	identity = strings.Join(parts[:len(parts)-3], ":")
	if err := conn.CheckIdentity(identity); err != nil {
		return "", c, err
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

// passwords is an auth-file in use.
type passwords struct {
	path    string
	anyHex  bool
	current atomic.Pointer[map[string]credential]
}

func newPasswords(path string, anyHex bool) (*passwords, error) {
	p := &passwords{path: path, anyHex: anyHex}
	return p, p.load()
}

func (p *passwords) load() error {
	all, err := readAuthFile(p.path)
	if err == nil {
		p.current.Store(&all)
	}
	return err
}

func (p *passwords) watch(log *slog.Logger) {
	watchFiles([]string{p.path}, func() {
		if err := p.load(); err != nil {
			log.Error("passwords stay as they were", "err", err)
			return
		}
		log.Info("passwords read again", "chargers", len(*p.current.Load()))
	})
}

// check tells whether identity is known, and password its own.
func (p *passwords) check(identity string, password []byte) (known, right bool) {
	c, known := (*p.current.Load())[identity]
	return known, known && c.matches(password, p.anyHex)
}
