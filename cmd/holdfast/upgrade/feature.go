package upgrade

import (
	"fmt"

	"holdfast/relay"
	"holdfast/unixipc/handoff"
)

// Features are what the state can hold beyond its first version. The new process
// lists in its HELLO those that it knows, and the old one writes no other. A feature
// that only helps is then left out. One that somebody relies on refuses the upgrade
// with its name, as soon as a link or a charger that has it is exported.
const (
	// featureAdditions: an update may leave out what the reader holds already.
	featureAdditions = "additions"
	// featureChargerWindow: a processor set its own charger_window in its HELLO.
	featureChargerWindow = "charger_window"
	// featureKeeper: the new process goes on with the old one's connection to the keeper.
	featureKeeper = "keeper"
)

// allFeatures are those that this program knows; see features.
var allFeatures = []string{featureAdditions, featureChargerWindow}

// checkFeatures returns an error if l has what the new process does not know.
func checkFeatures(to handoff.Hello, l *relay.Link) error {
	if l.ChargerWindow() != 0 && !to.Knows(featureChargerWindow) {
		return fmt.Errorf("the new process (%s) does not know %s, which the processor %q has asked for", to.Program, featureChargerWindow, l.Name())
	}
	return nil
}
