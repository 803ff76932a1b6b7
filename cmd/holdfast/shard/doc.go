// Package shard ties one loop (conn.Loop) to its relay and to the sockets of the
// processors that joined it. conn and relay never meet: a Shard translates between
// them. shard.go has the theory of operation.
//
// A charger belongs to the shard relay.LoopOf(identity, n) of n; a processor has a
// link to each. Everything of a Shard runs on its loop's goroutine, but Ask,
// Verdict and Post of its Loop, which others call to reach it, and the counters
// Held, From and Joined, which all shards share. A Shard owns the fds
// of its links; the loop owns those of the chargers.
//
//	shard.go     the Shard: what the loop calls, and the ends of all connections
//	link.go      the sockets of processors
//	chargers.go  what the relay asks of connections
//	observer.go  what the relay reports
//	new.go       makes the shards of a configuration
//	handover.go  what an upgrade needs, on both sides; late.go, what comes behind it
//	ask.go       questions of other goroutines; status.go and verdict.go answer them
//	fd.go        the end of an fd that has no owner yet
package shard
