package main

import (
	"errors"
	"fmt"
	"io"

	"holdfast/cmd/holdfast/admin"
	"holdfast/cmd/holdfast/config"
)

// Exit codes are part of the interface: scripts go by them.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitUnreachable = 3
	exitOffline     = 4
	exitCallError   = 5
	exitTimeout     = 6
	exitClosed      = 7
	exitNotTaken    = 8
	exitBadAnswer   = 9
)

// exitCodes are what the help says of them.
var exitCodes = []struct {
	code int
	text string
}{
	{0, "done"},
	{exitFailed, "failed for any other reason; an upgrade was rolled back"},
	{exitUsage, "the command line, the configuration or the JSON is at fault; nothing was sent"},
	{exitUnreachable, "no gateway answers, or it does not let this user in"},
	{exitOffline, "the charger, or the processor, is not connected"},
	{exitCallError, "the charger answered with a CALLERROR"},
	{exitTimeout, "the time is over; the charger may have done what it was asked for"},
	{exitClosed, "the connection ended first; the charger may have done what it was asked for"},
	{exitNotTaken, "the gateway did not take the order: the charger does not read, or too many wait"},
	{exitBadAnswer, "the charger's answer is not valid OCPP; it may have done what it was asked for"},
}

// exitError is an error that has an exit code of its own.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func exit(code int, format string, args ...any) error {
	return &exitError{code, fmt.Errorf(format, args...)}
}

// exitCode tells of an error, each fault of a configuration on its own line.
func exitCode(err error, stderr io.Writer) int {
	var faults config.Faults
	var own *exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &faults):
		for _, f := range faults {
			fmt.Fprintln(stderr, "holdfast:", f)
		}
		return exitUsage
	}
	if !errors.Is(err, errTold) {
		fmt.Fprintln(stderr, "holdfast:", err)
	}
	if errors.As(err, &own) {
		return own.code
	}
	if errors.As(err, new(*admin.UnreachableError)) {
		return exitUnreachable
	}
	return exitFailed
}
