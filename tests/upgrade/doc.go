// Package upgrade has black-box tests of the promise that an upgrade completes, or
// that the old process goes on as if it had never been asked, whatever fails and at
// whatever step. docs/handoff.md has the table of failures; each row names its test.
//
//	fault_test.go    each side killed, stopped and made to fail at each step
//	binary_test.go   new binaries that are none, or misbehave
//	config_test.go   new configurations, good and bad
//	freeze_test.go   chargers and links caught in every state by the freeze
//	signal_test.go   signals and commands that come at a bad moment
//	soak_test.go     many upgrades in a row, and what they leave behind
package upgrade
