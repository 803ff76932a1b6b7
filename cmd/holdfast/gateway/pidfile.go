package gateway

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
)

// writePidFile writes path as a whole, or not at all.
func writePidFile(path string) error {
	if path == "" {
		return nil
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, fmt.Appendln(nil, os.Getpid()), 0o644); err != nil {
		return fmt.Errorf("pid file: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("pid file: %w", err)
	}
	return nil
}

// removePidFile removes path if it is still this process's.
func removePidFile(path string) {
	if path == "" {
		return
	}
	b, err := os.ReadFile(path)
	if err != nil || string(b) != string(fmt.Appendln(nil, os.Getpid())) {
		return
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		slog.Warn("pid file stays", "err", err)
	}
}
