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
	"os/user"
	"strconv"
	"strings"

	"holdfast/cmd/holdfast/config"
	"holdfast/cmd/holdfast/credentials"
	"holdfast/conn"

	"golang.org/x/sys/unix"
)

// passwd is what its options say.
type passwd struct {
	file                  string
	hex, generate, remove bool
	owner                 string
}

func passwdOptions(i *invocation) []config.Option {
	p := &i.passwd
	return []config.Option{
		config.Define("file", "", "auth-file to change", config.Text(&p.file)),
		config.Define("hex", "false", "the password is given in hexadecimal, and may be any bytes", config.Boolean(&p.hex)),
		config.Define("generate", "false", "make a new password of 32 hexadecimal digits, and print it", config.Boolean(&p.generate)),
		config.Define("owner", "", "user that a new -file belongs to; for root it is the one that the gateway runs as", config.Text(&p.owner)),
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
		return changeAuthFile(i, identity, "")
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
	if why := weakness(identity, password); why != "" {
		fmt.Fprintf(i.stderr, "warning: the password %s; -generate makes one that cannot be guessed\n", why)
	}
	var salt [16]byte
	_, _ = rand.Read(salt[:])
	entry := identity + ":" + credentials.New(salt, password).String()
	switch {
	case p.file == "":
		fmt.Fprintln(i.stdout, entry)
	default:
		if err := changeAuthFile(i, identity, entry); err != nil {
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

// changeAuthFile changes the file. One that root makes belongs to the user that the
// gateway runs as; if that user could not read it, root is told.
func changeAuthFile(i *invocation, identity, entry string) (err error) {
	owner, u := -1, (*user.User)(nil)
	switch isRoot := os.Geteuid() == 0; {
	case i.passwd.owner != "":
		if u, err = user.Lookup(i.passwd.owner); err != nil {
			return exit(exitUsage, "passwd: -owner: %w", err)
		}
	case isRoot:
		u = gatewayUser(defaultAdminSocket)
	}
	if u != nil {
		owner, _ = strconv.Atoi(u.Uid) // of Linux: a number
	}
	if err := credentials.ChangeAuthFile(i.passwd.file, identity, entry, owner); err != nil {
		return err
	}
	if u != nil && os.Geteuid() == 0 {
		var faults strings.Builder
		if err := runAs(u, []string{"check", "-auth-file", i.passwd.file}, io.Discard, &faults); err != nil {
			fmt.Fprintf(i.stderr, "warning: user %s, whom the gateway runs as: %v %s\n", u.Username, err, strings.TrimSpace(faults.String()))
		}
	}
	return nil
}

// shortestPassword in bytes: OCPP 2.0.1 A00.FR.205, and the AuthorizationKey of OCPP 1.6.
const shortestPassword = 16

// weakness says what is wrong with a password; empty if nothing is known. The hash in the
// file is fast, made for passwords that nobody can guess.
func weakness(identity string, password []byte) string {
	distinct := map[byte]bool{}
	for _, b := range password {
		distinct[b] = true
	}
	switch {
	case len(password) < shortestPassword:
		return fmt.Sprintf("is shorter than the %d bytes that OCPP demands", shortestPassword)
	case len(distinct) < 6:
		return fmt.Sprintf("consists of %d different bytes", len(distinct))
	case bytes.Contains(bytes.ToLower(password), bytes.ToLower([]byte(identity))):
		return "contains the identity"
	}
	return ""
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
