package proc

import (
	"errors"
	"sync"
)

// errFormer ends a link to a gateway that has been replaced by a restart: its
// WELCOME was still on the way when another loop had joined the new one.
var errFormer = errors.New("joined a gateway that is gone")

// restarted is the body of the CLOSED that a gateway could not send any more.
var restarted = []byte(`{"code":1006,"reason":"the gateway was restarted","by":"gateway"}`)

// instance is the start of the gateway that the links lead to. The loops share it.
type instance struct {
	mu      sync.Mutex
	current string        // empty: the gateway is older than instances are
	former  string        // the one before
	links   map[int]*link // the last of each loop
}

// enter is called with each link between its WELCOME and its first delivery.
// If the gateway is another one than before, it waits until no link to that one
// is read any more, and then calls lost: what comes from the new gateway finds
// everything of the former one in the dispatcher already, for all loops. The
// mutex is held meanwhile, so that the other loops wait as well.
func (in *instance) enter(loop int, l *link, lost func()) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	name := l.welcome.Instance
	if name != "" && name == in.former {
		return errFormer
	}
	if name != "" && in.current != "" && name != in.current {
		for i, old := range in.links {
			if i != loop { // whose former link has ended
				old.hurry() // its socket is closed, unless both gateways run
				<-old.over
			}
		}
		clear(in.links)
		in.former = in.current
		lost()
	}
	// A gateway without an instance may be an upgrade to an older release, and a
	// later one an upgrade back: what is not known is no restart.
	in.current = name
	in.links[loop] = l
	return nil
}
