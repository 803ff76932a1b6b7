package config

import "strings"

// Faults joins the faults of a configuration into one sentence.
type Faults []error

func (e Faults) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "; ")
}
