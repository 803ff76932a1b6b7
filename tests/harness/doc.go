// Package harness runs the real programs for black-box tests: it builds them, starts
// them with sockets and files of their own, waits for conditions with deadlines,
// keeps their logs, does to them what a test is about (SIGTERM, SIGKILL, SIGSTOP),
// and measures them through /proc.
//
// A test package builds once, in TestMain:
//
//	func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }
//
// process.go is one process; gateway.go, processor.go are what is known of the two
// programs; test.go ties them to a testing.TB. What is above test.go needs no test:
// tests/cmd/demo uses it too.
//
// A harness signals only processes that carry its own mark in their environment:
// those that it started, and what these started in turn, as a gateway that upgrades
// itself does.
package harness
