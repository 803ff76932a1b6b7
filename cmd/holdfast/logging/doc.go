// Package logging is the log of a program that serves.
//
//	logging.go   the log that is asked for
//	writer.go    never makes a loop wait for whoever reads it
//	journal.go   a field of systemd's journal for each attribute
//	severity.go  levels for the journal, where it gets lines
//	summary.go   counts lines of chargers that are alike
//
// A log may be used by any goroutine.
package logging
