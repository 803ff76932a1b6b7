package config

import (
	"fmt"
	"strings"

	"holdfast/conn"
)

// lenient is the value of a set of tolerances: their names with commas between them,
// all or none. Alone, as a flag, it is all.
type lenient struct{ to *conn.Tolerances }

func (lenient) single() bool      { return true }
func (lenient) standsAlone() bool { return true }

// Set implements Value.
func (v lenient) Set(s string) error {
	*v.to = 0
	switch s {
	case "none", "false", "off", "no":
		return nil
	case "all", "true", "on", "yes":
		s = strings.Join(conn.ToleranceNames(), ",")
	}
	for name := range strings.SplitSeq(s, ",") {
		bit, ok := conn.ToleranceOf(strings.TrimSpace(name))
		if !ok {
			return fmt.Errorf("want all, none, or some of %s", strings.Join(conn.ToleranceNames(), ","))
		}
		*v.to |= bit
	}
	return nil
}
