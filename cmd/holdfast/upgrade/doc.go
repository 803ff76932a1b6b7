// Package upgrade replaces the running gateway by the binary at its path without
// closing a connection. unixipc/handoff carries the items and decides who owns the
// connections; docs/handoff.md has the table of faults.
//
// In the process that is replaced:
//
//	process.go  what an upgrade needs of the process around it
//	old.go      the states of an upgrade, and who may change them
//	child.go    starts the new process, and ends it if it must be ended
//	precopy.go  sends everything while the loops turn
//	freeze.go   stops accepting and the loops
//	export.go   reads what each shard hands over
//	late.go     sends what became ready after the freeze
//
// In the process that takes over: new.go stages what it receives. Both sides share
// channel.go, the channel between them; item.go, the layout of what they send; and
// gc.go.
//
// Upgrade runs on the goroutine that handles signals. It reaches shards by posting
// to their loops, and touches them itself only while they are frozen.
package upgrade
