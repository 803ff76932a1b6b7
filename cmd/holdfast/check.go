package main

import (
	"errors"
	"fmt"
	"os"

	"holdfast/cmd/holdfast/config"
	"holdfast/cmd/holdfast/credentials"
)

// runCheck reports all that is wrong with the configuration and with the files that it
// names. Run as root it reads them as the user that the gateway runs as: what that user
// may not read, a reload could not.
func runCheck(i *invocation) error {
	cfg, faults := config.Parse(i.raw)
	if u := gatewayUser(cfg.Admin); u != nil && os.Geteuid() == 0 && u.Uid != "0" {
		err := runAs(u, append([]string{"check"}, i.raw...), i.stdout, i.stderr)
		if err == nil {
			fmt.Fprintf(i.stdout, "read as user %s\n", u.Username)
		}
		if err == nil || errors.Is(err, errTold) {
			return err
		}
		fmt.Fprintln(i.stderr, "warning: files are read as root, not as the gateway will:", err)
	}
	more, warnings := credentials.Check(cfg)
	for _, w := range warnings {
		fmt.Fprintln(i.stderr, "warning:", w)
	}
	if faults = config.InOrder(append(faults, more...)); len(faults) > 0 {
		return config.Faults(faults)
	}
	fmt.Fprintln(i.stdout, "configuration is valid")
	return nil
}
