package main

import (
	"fmt"

	"holdfast/cmd/holdfast/config"
	"holdfast/cmd/holdfast/credentials"
)

func runCheck(i *invocation) error {
	cfg, faults := config.Parse(i.raw)
	var warnings []error
	if len(faults) == 0 {
		faults, warnings = credentials.Check(cfg)
	}
	for _, w := range warnings {
		fmt.Fprintln(i.stderr, "warning:", w)
	}
	if len(faults) > 0 {
		return config.Faults(faults)
	}
	fmt.Fprintln(i.stdout, "configuration is valid")
	return nil
}
