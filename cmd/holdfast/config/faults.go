package config

import "strings"

// Faults joins the faults of a configuration into one sentence.
type Faults []error

// Error implements error.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, err := range f {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "; ")
}
