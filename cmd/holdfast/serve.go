package main

import (
	"holdfast/cmd/holdfast/config"
	"holdfast/cmd/holdfast/gateway"
)

func runServe(i *invocation) error {
	cfg, faults := config.Parse(i.raw)
	return gateway.Run(cfg, faults, version, i.stderr)
}
