package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"holdfast/cmd/holdfast/config"
	"holdfast/conn"

	"golang.org/x/sys/unix"
)

// passwd is what its options say.
type passwd struct {
	file                  string
	hex, generate, remove bool
}

func passwdOptions(i *invocation) []config.Option {
	p := &i.passwd
	return []config.Option{
		config.Define("file", "", "auth-file to change", config.Text(&p.file)),
		config.Define("hex", "false", "the password is given in hexadecimal, and may be any bytes", config.Boolean(&p.hex)),
		config.Define("generate", "false", "make a new password of 32 hexadecimal digits, and print it", config.Boolean(&p.generate)),
		config.Define("delete", "false", "take the charger out of -file", config.Boolean(&p.remove)),
	}
}

// longestPassword in bytes: OCPP has at most 40.
const longestPassword = 256

// runPasswd makes an entry of an auth-file.
func runPasswd(i *invocation) error {
	if err := i.parse(); err != nil {
		return err
	}
	identity, p := i.args[0], i.passwd
	switch err := conn.CheckIdentity(identity); {
	case err != nil:
		return exit(exitUsage, "passwd: %w", err)
	case p.remove && p.file == "":
		return exit(exitUsage, "passwd: -delete needs -file")
	case p.generate && (p.hex || p.remove):
		return exit(exitUsage, "passwd: -generate goes with neither -hex nor -delete")
	case p.remove:
		return changeAuthFile(p.file, identity, "")
	}
	var password []byte
	var err error
	if p.generate {
		random := make([]byte, 16)
		_, _ = rand.Read(random) // never fails
		password = hex.AppendEncode(nil, random)
	} else if password, err = readPassword(os.Stdin, i.stderr, p.hex); err != nil {
		return fmt.Errorf("passwd: %w", err)
	}
	var salt [16]byte
	_, _ = rand.Read(salt[:])
	entry := identity + ":" + newCredential(salt, password).String()
	switch {
	case p.file == "":
		fmt.Fprintln(i.stdout, entry)
	default:
		if err := changeAuthFile(p.file, identity, entry); err != nil {
			return err
		}
	}
	if p.generate {
		// Where the entry does not go.
		to := i.stdout
		if p.file == "" {
			to = i.stderr
		}
		fmt.Fprintf(to, "%s\n", password)
	}
	return nil
}

// readPassword reads one line, without showing it on a terminal.
func readPassword(stdin *os.File, stderr io.Writer, isHex bool) ([]byte, error) {
	fd := int(stdin.Fd())
	if before, err := unix.IoctlGetTermios(fd, unix.TCGETS); err == nil {
		silent := *before
		silent.Lflag &^= unix.ECHO
		if err := unix.IoctlSetTermios(fd, unix.TCSETS, &silent); err != nil {
			return nil, fmt.Errorf("terminal: %w", err)
		}
		defer func() { _ = unix.IoctlSetTermios(fd, unix.TCSETS, before) }()
		fmt.Fprint(stderr, "password: ")
		defer fmt.Fprintln(stderr)
	}
	line, err := bufio.NewReader(io.LimitReader(stdin, 4*longestPassword)).ReadBytes('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	password := bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
	if isHex {
		if password, err = hex.DecodeString(string(password)); err != nil {
			return nil, fmt.Errorf("the password is not hexadecimal: %w", err)
		}
	}
	if len(password) == 0 || len(password) > longestPassword {
		return nil, fmt.Errorf("a password has 1 to %d bytes", longestPassword)
	}
	return password, nil
}

// changeAuthFile puts entry, or nothing if it is empty, in the place of the
// identity's line, and leaves all others as they are. Whoever reads the file
// sees either the old one or the new one.
func changeAuthFile(path, identity, entry string) error {
	old, err := os.ReadFile(path)
	mode := os.FileMode(0o600)
	switch info, statErr := os.Stat(path); {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return fmt.Errorf("passwd: %w", err)
	case statErr == nil:
		mode = info.Mode().Perm()
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
		err = keepOwner(f, path, mode)
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

// keepOwner gives f the mode, and owner and group of path if there is one: the
// gateway must still be able to read it.
func keepOwner(f *os.File, path string, mode os.FileMode) error {
	if err := f.Chmod(mode); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return nil // it is new
	}
	return f.Chown(int(st.Uid), int(st.Gid))
}
