package config

import (
	"fmt"
	"os"
	"strings"
)

// setting is one name with its value, and the place where it was written.
type setting struct {
	name, value string
	at          place
}

// fault returns what is wrong with the setting.
func (s setting) fault(format string, args ...any) error {
	return &fault{s.at, fmt.Errorf(format, args...)}
}

// parseArgs reads -name value, -name=value, and -name alone for a boolean. It
// returns all faults, not just the first.
func parseArgs(args []string, opts []Option) (given []setting, errs []error) {
	for i := 0; i < len(args); i++ {
		arg := args[i]
		name, value, hasValue := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(arg, "-"), "-"), "=")
		if !strings.HasPrefix(arg, "-") || name == "" {
			errs = append(errs, fmt.Errorf("unexpected argument %q", arg))
			continue
		}
		o := Find(opts, name)
		if o == nil && name != "config" {
			errs = append(errs, fmt.Errorf("unknown flag -%s%s", name, suggest(opts, name)))
			if !hasValue && i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
				i++ // its value, no doubt
			}
			continue
		}
		if !hasValue {
			switch {
			case StandsAlone(valueOf(o)) && (i+1 == len(args) || strings.HasPrefix(args[i+1], "-")):
				value = "true"
			case i+1 == len(args):
				errs = append(errs, fmt.Errorf("flag -%s needs a value", name))
				continue
			default:
				i++
				value = args[i]
			}
		}
		given = append(given, setting{name, value, place{text: "-" + name}})
	}
	return given, errs
}

// parseFile reads a configuration file: one `name value` a line; # begins a comment
// at the start of a line or behind white space.
func parseFile(path string, opts []Option) (found []setting, errs []error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, []error{fmt.Errorf("config file: %w", err)}
	}
	n := 0
	for line := range strings.SplitSeq(string(b), "\n") {
		n++
		name, value, _ := strings.Cut(strings.TrimSpace(uncomment(line)), " ")
		s := setting{name, strings.TrimSpace(value), place{fmt.Sprintf("%s:%d", path, n), n}}
		switch {
		case name == "":
		case Find(opts, name) == nil:
			errs = append(errs, s.fault("unknown name %q%s", name, suggest(opts, name)))
		case s.value == "":
			errs = append(errs, s.fault("%s has no value", name))
		default:
			found = append(found, s)
		}
	}
	return found, errs
}

// uncomment returns a line without its comment, its tabs as spaces.
func uncomment(line string) string {
	line = strings.ReplaceAll(line, "\t", " ")
	if strings.HasPrefix(line, "#") {
		return ""
	}
	line, _, _ = strings.Cut(line, " #")
	return line
}

// ofName returns the settings of one option, in the order in which they were given.
func ofName(all []setting, name string) (found []setting) {
	for _, s := range all {
		if s.name == name {
			found = append(found, s)
		}
	}
	return found
}
