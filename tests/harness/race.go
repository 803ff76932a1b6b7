//go:build race

package harness

// raceEnabled: the programs are built with -race if the test is.
const raceEnabled = true
