// Package hostile is black-box tests of the gateway against what a network
// brings: broken handshakes and frames, floods, slow and silent peers, and
// processors that misbehave. Everything goes over raw sockets, and beside every
// case a well-behaved charger, the witness, keeps asking: it must get each of
// its answers, in order and without delay.
//
// charger_test.go is a charger that sends any bytes, processor_test.go a
// processor that does, witness_test.go the witness.
package hostile
