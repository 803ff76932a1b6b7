package config

import (
	"cmp"
	"errors"
	"slices"
	"strings"
)

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

// place is where a setting was written.
type place struct {
	text string // as a fault begins; "": nowhere
	line int    // of the configuration file; 0: on the command line, or nowhere
}

func (p place) isDefault() bool { return strings.HasPrefix(p.text, defaultOf) }

// defaultOf begins the place of a value that was not set.
const defaultOf = "default of -"

// fault is what is wrong with a setting, behind its place.
type fault struct {
	at  place
	err error
}

func (f *fault) Error() string {
	if f.at.text == "" {
		return f.err.Error()
	}
	return f.at.text + ": " + f.err.Error()
}

func (f *fault) Unwrap() error { return f.err }

// Fault returns what is wrong with the value of an option, such as with the file that it
// names, behind the place where it was written. n is which of its values, from 0.
func (c *Config) Fault(option string, n int, err error) error {
	if all := c.places[option]; n < len(all) && all[n].line > 0 {
		return &fault{all[n], err}
	}
	return err // which names the option
}

// InOrder sorts faults: first those of the command line, then those of the file in the
// order of its lines.
func InOrder(faults []error) []error {
	line := func(err error) int {
		if f, ok := errors.AsType[*fault](err); ok {
			return f.at.line
		}
		return 0
	}
	slices.SortStableFunc(faults, func(a, b error) int { return cmp.Compare(line(a), line(b)) })
	return faults
}
