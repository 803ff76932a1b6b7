package admin

import (
	"errors"
	"fmt"
	"os"

	"holdfast/cmd/holdfast/config"
)

// SetRights gives the admin socket to a group; without one, to the gateway's own
// user alone.
func SetRights(path, group string) error {
	mode, gid := os.FileMode(0o600), -1
	if group != "" {
		var err error
		if gid, err = config.LookupGroup(group); err != nil {
			return err
		}
		mode = 0o660
	}
	if gid >= 0 {
		if err := os.Chown(path, -1, gid); err != nil {
			if errors.Is(err, os.ErrPermission) {
				return fmt.Errorf("admin-group %s: this process may not give its socket to that group: the unit needs SupplementaryGroups=%s and SystemCallFilter=@chown, and takes them only with a restart: %w", group, group, err)
			}
			return fmt.Errorf("admin-group %s: %w", group, err)
		}
	}
	if err := os.Chmod(path, mode); err != nil {
		return fmt.Errorf("admin socket: %w", err)
	}
	return nil
}
