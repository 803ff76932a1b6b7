// Package shard ties one loop (conn.Loop) to its relay and to the sockets of the
// processors that joined it. conn and relay never meet: a Shard translates between
// them.
//
// A charger belongs to the shard relay.LoopOf(identity, n) of n; a processor has a
// link to each. Everything of a Shard runs on its loop's goroutine, but Ask,
// Verdict and Post of its Loop, which others call to reach it, and the counters
// Held and Joined, which are atomic and shared by all shards. A Shard owns the fds
// of its links; the loop owns those of the chargers.
//
// After a hand-over has been committed, Successor is set, and whatever becomes
// ready goes there.
package shard
