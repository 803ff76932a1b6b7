package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// setting is one name with its value, and the place where it was written.
type setting struct{ name, value, where string }

// parseArgs reads -name value, -name=value, and -name alone for a boolean. It
// reports all faults, not just the first.
func parseArgs(args []string, opts []option) (given []setting, errs []error) {
	for i := 0; i < len(args); i++ {
		arg := args[i]
		name, value, hasValue := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(arg, "-"), "-"), "=")
		if !strings.HasPrefix(arg, "-") || name == "" {
			errs = append(errs, fmt.Errorf("unexpected argument %q", arg))
			continue
		}
		o := find(opts, name)
		if o == nil && name != "config" {
			errs = append(errs, fmt.Errorf("unknown flag -%s%s", name, suggest(opts, name)))
			if !hasValue && i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
				i++ // its value, no doubt
			}
			continue
		}
		if !hasValue {
			_, isBool := valueOf(o).(boolean)
			switch {
			case isBool && (i+1 == len(args) || strings.HasPrefix(args[i+1], "-")):
				value = "true"
			case i+1 == len(args):
				errs = append(errs, fmt.Errorf("flag -%s needs a value", name))
				continue
			default:
				i++
				value = args[i]
			}
		}
		given = append(given, setting{name, value, "-" + name})
	}
	return given, errs
}

func valueOf(o *option) value {
	if o == nil {
		return nil
	}
	return o.value
}

// parseFile reads a config file: one `name value` a line; # begins a comment
// at the start of a line or behind white space.
func parseFile(path string, opts []option) (found []setting, errs []error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, []error{fmt.Errorf("config file: %w", err)}
	}
	n := 0
	for line := range strings.SplitSeq(string(b), "\n") {
		n++
		where := fmt.Sprintf("%s:%d", path, n)
		name, value, _ := strings.Cut(strings.TrimSpace(uncomment(line)), " ")
		value = strings.TrimSpace(value)
		switch {
		case name == "":
		case find(opts, name) == nil:
			errs = append(errs, fmt.Errorf("%s: unknown name %q%s", where, name, suggest(opts, name)))
		case value == "":
			errs = append(errs, fmt.Errorf("%s: %s has no value", where, name))
		default:
			found = append(found, setting{name, value, where})
		}
	}
	return found, errs
}

func uncomment(line string) string {
	line = strings.ReplaceAll(line, "\t", " ")
	if strings.HasPrefix(line, "#") {
		return ""
	}
	line, _, _ = strings.Cut(line, " #")
	return line
}

func find(opts []option, name string) *option {
	if i := slices.IndexFunc(opts, func(o option) bool { return o.name == name }); i >= 0 {
		return &opts[i]
	}
	return nil
}

// suggest names the option that is most likely meant.
func suggest(opts []option, name string) string {
	for _, o := range opts {
		if len(name) >= 3 && (strings.HasPrefix(o.name, name) || strings.HasPrefix(name, o.name) ||
			strings.ReplaceAll(o.name, "-", "") == strings.ReplaceAll(strings.ReplaceAll(name, "_", ""), "-", "")) {
			return fmt.Sprintf("; did you mean %s?", o.name)
		}
	}
	return ""
}
