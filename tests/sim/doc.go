// Package sim simulates chargers: thousands in one process, each with its own
// WebSocket, living an OCPP life, at a total message rate that does not wait
// for answers (open loop).
//
// It exists to notice what a gateway does wrong. Every CALL carries the run, the
// charger and a sequence number in its message id, so that these are told apart:
//
//	dropped      a connection ended that the simulator did not close
//	lost         no answer before the deadline, or before the connection ended
//	duplicated   a second answer to a message id
//	out of order an answer that came after the answer to a later message
//	stray        an answer to a message that this charger never sent
//	malformed    bytes that are no OCPP message
//
// A charger has one CALL outstanding, as OCPP-J demands. When its turn comes and
// the answer is still missing it skips the turn; so latency is measured over
// what was sent, and LongestSilence says what skipping hides.
//
// Who owns what: a charger's reader goroutine owns its buffers; its mutex guards
// the writing half of the connection and the outstanding calls, which pacers,
// the reader and the sweeper share. Counters are atomics that anyone may read
// while the simulation runs.
package sim
