package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// defaultUser is who the gateway runs as where it was installed from a package.
const defaultUser = "holdfast"

// gatewayUser returns who the gateway runs as: the owner of its admin socket, or the user
// that a package has made; nil if there is neither.
func gatewayUser(adminSocket string) *user.User {
	if info, err := os.Stat(adminSocket); err == nil {
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			if u, err := user.LookupId(strconv.Itoa(int(st.Uid))); err == nil {
				return u
			}
		}
	}
	u, err := user.Lookup(defaultUser)
	if err != nil {
		return nil
	}
	return u
}

// credentialOf returns what a process of u runs with.
func credentialOf(u *user.User) (c *syscall.Credential, err error) {
	number := func(s string) uint32 {
		n, wrong := strconv.ParseUint(s, 10, 32)
		err = errors.Join(err, wrong)
		return uint32(n)
	}
	groups, listed := u.GroupIds()
	c = &syscall.Credential{Uid: number(u.Uid), Gid: number(u.Gid)}
	for _, g := range groups {
		c.Groups = append(c.Groups, number(g))
	}
	return c, errors.Join(err, listed)
}

// runAs runs this program as another user, with these arguments. An error that is an
// *exitError was told by it; any other means that it did not run.
func runAs(u *user.User, args []string, stdout, stderr io.Writer) error {
	as, err := credentialOf(u)
	if err != nil {
		return err
	}
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	err = cmd.Run()
	var ended *exec.ExitError
	if errors.As(err, &ended) && ended.ExitCode() > 0 {
		return &exitError{ended.ExitCode(), errTold}
	}
	if err != nil {
		return fmt.Errorf("as user %s: %w", u.Username, err)
	}
	return nil
}

// errTold is an error of which the user has been told.
var errTold = errors.New("told already")
