package credentials

import (
	"fmt"

	"holdfast/cmd/holdfast/config"
)

// maxFaults is how many lines at fault of one file are reported.
const maxFaults = 20

// lineFaults collects what is wrong with the lines of a file.
type lineFaults struct {
	faults config.Faults
	more   int
}

func (l *lineFaults) add(err error) {
	if len(l.faults) < maxFaults {
		l.faults = append(l.faults, err)
	} else {
		l.more++
	}
}

// err returns them as config.Faults; nil if there are none. file is for how the rest is
// told, such as "auth-file /etc/holdfast/chargers".
func (l *lineFaults) err(file string) error {
	switch {
	case len(l.faults) == 0:
		return nil
	case l.more > 0:
		return append(l.faults, fmt.Errorf("%s: %d more lines are at fault", file, l.more))
	}
	return l.faults
}
