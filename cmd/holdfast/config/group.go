package config

import (
	"errors"
	"os/user"
	"strconv"
)

// group is the value of a group of the system.
type group struct{ to *string }

func (group) single() bool { return true }

// Set implements Value.
func (v group) Set(s string) error {
	*v.to = s
	_, err := LookupGroup(s)
	return err
}

// LookupGroup returns the id of a group, which s names or is.
func LookupGroup(s string) (int, error) {
	if g, err := user.LookupGroup(s); err == nil {
		s = g.Gid
	}
	gid, err := strconv.Atoi(s)
	if err != nil || gid < 0 {
		return -1, errors.New("there is no such group")
	}
	return gid, nil
}
