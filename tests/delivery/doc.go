// Package delivery has black-box tests of what the gateway promises about messages
// and processors: delivered at least once, in order, answered once, whatever
// happens to the processors. Real programs, real sockets, real signals.
//
//	kill_test.go      processors that are killed
//	leave_test.go     processors that drain, come and go
//	wait_test.go      no processor: messages wait
//	hung_test.go      a processor that hangs
//	minimal_test.go   tests/processors, the processors of forty lines
package delivery
