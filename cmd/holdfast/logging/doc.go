// Package logging is the gateway's log.
//
//	logging.go   the log that a configuration asks for
//	writer.go    never makes a loop wait for whoever reads it
//	severity.go  levels for systemd's journal
//	summary.go   counts lines of chargers that are alike
//
// A log may be used by any goroutine.
package logging
