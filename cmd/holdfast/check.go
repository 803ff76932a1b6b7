package main

import (
	"fmt"

	"holdfast/cmd/holdfast/config"
	"holdfast/cmd/holdfast/credentials"
)

func runCheck(i *invocation) error {
	cfg, faults := config.Parse(i.raw)
	if len(faults) == 0 {
		faults = credentials.Check(cfg)
	}
	if len(faults) > 0 {
		return config.Faults(faults)
	}
	fmt.Fprintln(i.stdout, "configuration is valid")
	return nil
}
