package admin

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// pointer is the path of a link to the admin socket of the gateway that serves, in the
// directory that systemd gives to a service and to its ExecReload=; empty without one.
// It lets a reload find the gateway whose configuration has a new socket already.
func pointer() string {
	dir, _, _ := strings.Cut(os.Getenv("RUNTIME_DIRECTORY"), ":")
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, "serving.sock")
}

// PointTo makes the link name the socket of this process, at once. Without a directory
// of systemd's it does nothing.
func PointTo(socket string) error {
	path := pointer()
	if path == "" {
		return nil
	}
	target, err := filepath.Abs(socket)
	if err != nil {
		return err
	}
	if err := os.Remove(path + ".new"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Symlink(target, path+".new"); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// Pointed returns the socket that the link names; empty if there is none.
func Pointed() string {
	if path := pointer(); path != "" {
		if target, err := os.Readlink(path); err == nil {
			return target
		}
	}
	return ""
}
