package admin

import (
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
			return fmt.Errorf("admin socket for group %s, of which this process must be a member: %w", group, err)
		}
	}
	if err := os.Chmod(path, mode); err != nil {
		return fmt.Errorf("admin socket: %w", err)
	}
	return nil
}
