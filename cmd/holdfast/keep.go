package main

import (
	"log/slog"
	"time"

	"holdfast/cmd/holdfast/config"
	"holdfast/cmd/holdfast/keeper"
	"holdfast/cmd/holdfast/logging"
)

// keepFor is what an invocation of keep was given.
type keepFor struct {
	socket string
	length time.Duration
	format string
}

func keepOptions(i *invocation) []config.Option {
	return []config.Option{
		config.Define("socket", "/run/holdfast-keeper/keeper.sock", "path of the Unix socket for the gateway (its option keeper)", config.Text(&i.keep.socket)),
		config.Define("keep-for", "60s", "how long everything is kept after the gateway has died, if no other one comes", config.Duration(&i.keep.length, time.Second, 24*time.Hour)),
		config.Define("log-format", "text", "text or json", config.Choice(&i.keep.format, "text", "json")),
	}
}

func runKeep(i *invocation) error {
	if err := i.parse(); err != nil {
		return err
	}
	log, closeLog := logging.New(i.stderr, logging.Options{Program: "holdfast-keeper", JSON: i.keep.format == "json", Level: slog.LevelInfo})
	defer closeLog()
	return keeper.Run(keeper.Options{Socket: i.keep.socket, KeepFor: i.keep.length, Log: log})
}
