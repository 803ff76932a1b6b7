// Package upgrade replaces the running gateway by the binary at its path without
// closing a connection. old.go drives it in the process that is replaced, child.go
// starts and ends the new process, export.go reads what each shard hands over;
// new.go stages that in the process that takes over; item.go has the layout of
// what they exchange. unixipc/handoff carries it and decides who owns the
// connections; docs/handoff.md has the table of faults.
//
// Upgrade runs on the goroutine that handles signals. It reaches shards by posting
// to their loops, and touches them itself only while they are frozen.
package upgrade
