// Package ledger checks the order in which processors saw the messages of
// simulated chargers.
//
// Every checking processor (tests/cmd/checkproc) appends a line to one common file
// for each message that it receives, before it acknowledges it. The gateway gives a
// charger's next message to another processor only after an acknowledgement, or
// after the first one is gone; so the order of lines in the file is an order that the
// processors agree on, and it outlives a processor that is killed.
//
// A line: processor, identity, message id, and "r" if it was flagged redelivered
// or "-" if not.
package ledger
