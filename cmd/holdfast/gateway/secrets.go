package gateway

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"syscall"

	"holdfast/cmd/holdfast/config"
)

// warnSecrets warns of each private key and auth-file that processors can read: one
// open to all users, or to the group of the socket by which processors join. A file
// that cannot be looked at is reported by whoever reads it.
func warnSecrets(c *config.Config, log *slog.Logger) {
	processors, known := groupOf(c.Processors)
	secrets := slices.Clone(c.TLSKeys)
	if c.AuthFile != "" {
		secrets = append(secrets, c.AuthFile)
	}
	for _, path := range secrets {
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		group, _ := groupOf(path)
		shared := known && group == processors && info.Mode()&0o040 != 0
		if shared || info.Mode()&0o004 != 0 {
			log.Warn("processors can read a secret", "file", path, "mode", fmt.Sprintf("%04o", info.Mode().Perm()), "group", group,
				"remedy", "let the gateway's user own it, with mode 0400")
		}
	}
}

// groupOf returns the id of the group that a file belongs to.
func groupOf(path string) (gid uint32, known bool) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, false
	}
	stat, known := info.Sys().(*syscall.Stat_t)
	if !known {
		return 0, false
	}
	return stat.Gid, true
}
