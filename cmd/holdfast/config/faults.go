package config

import "strings"

// Faults are the faults of a configuration, as one error.
type Faults []error

// Error implements error.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, err := range f {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "; ")
}
