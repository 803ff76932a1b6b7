package config

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
			_, isBool := valueOf(o).(BooleanValue)
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

// ParseCommand reads what was given to a command: options and arguments, in any
// order; behind -- there are only arguments. It sets the values of opts, those of
// options that were not given to their defaults, and returns the arguments and
// every fault.
func ParseCommand(raw []string, opts []Option) (args []string, errs []error) {
	var flags []string
	for n := 0; n < len(raw); n++ {
		arg := raw[n]
		switch {
		case arg == "--":
			args = append(args, raw[n+1:]...)
			n = len(raw)
		case len(arg) < 2 || arg[0] != '-':
			args = append(args, arg)
		default:
			name, _, whole := strings.Cut(strings.TrimLeft(arg, "-"), "=")
			o := Find(opts, name)
			if _, isBool := valueOf(o).(BooleanValue); isBool && !whole {
				arg += "=true" // an argument may follow
			}
			if flags = append(flags, arg); o != nil && !whole && !strings.Contains(arg, "=") && n+1 < len(raw) {
				n++
				flags = append(flags, raw[n])
			}
		}
	}
	given, errs := parseArgs(flags, opts)
	for _, o := range opts {
		value := o.Default
		for _, s := range ofName(given, o.Name) {
			value = s.value
		}
		if value == "" {
			continue
		}
		if err := o.Value.Set(value); err != nil {
			errs = append(errs, fmt.Errorf("-%s %q: %w", o.Name, value, err))
		}
	}
	return args, errs
}

func valueOf(o *Option) Value {
	if o == nil {
		return nil
	}
	return o.Value
}

// parseFile reads a config file: one `name value` a line; # begins a comment
// at the start of a line or behind white space.
func parseFile(path string, opts []Option) (found []setting, errs []error) {
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
		case Find(opts, name) == nil:
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

func Find(opts []Option, name string) *Option {
	if i := slices.IndexFunc(opts, func(o Option) bool { return o.Name == name }); i >= 0 {
		return &opts[i]
	}
	return nil
}

// suggest names the option that is most likely meant.
func suggest(opts []Option, name string) string {
	for _, o := range opts {
		if len(name) >= 3 && (strings.HasPrefix(o.Name, name) || strings.HasPrefix(name, o.Name) ||
			strings.ReplaceAll(o.Name, "-", "") == strings.ReplaceAll(strings.ReplaceAll(name, "_", ""), "-", "")) {
			return fmt.Sprintf("; did you mean %s?", o.Name)
		}
	}
	return ""
}
