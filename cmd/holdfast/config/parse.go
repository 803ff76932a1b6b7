package config

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strings"
)

// Parse reads the command line, and the file that it names. It returns every fault
// there is, each with its place, in their order. A flag wins over the file.
func Parse(args []string) (*Config, []error) {
	c := new(Config)
	opts := Options(c)
	var errs []error
	given, faults := parseArgs(args, opts)
	errs = append(errs, faults...)
	for i, s := range ofName(given, "config") {
		if c.File = s.value; i > 0 {
			errs = append(errs, s.fault("config is given more than once"))
		}
	}
	var fromFile []setting
	if c.File != "" {
		fromFile, faults = parseFile(c.File, opts)
		errs = append(errs, faults...)
	}
	c.places = make(map[string][]place, len(opts))
	for _, o := range opts {
		source := ofName(given, o.Name)
		if source == nil {
			source = ofName(fromFile, o.Name)
		}
		if source == nil && o.Default != "" {
			source = []setting{{name: o.Name, value: o.Default, at: place{text: defaultOf + o.Name}}}
		}
		if list, ok := o.Value.(single); ok && list.single() && len(source) > 1 {
			errs = append(errs, source[1].fault("%s is given more than once", o.Name))
			continue
		}
		faults := len(errs)
		var places []place
		for _, s := range source {
			places = append(places, s.at)
			if err := o.Value.Set(s.value); err != nil {
				errs = append(errs, s.fault("%s %q: %w", o.Name, s.value, err))
			}
		}
		if len(errs) == faults {
			c.places[o.Name] = places
		}
	}
	c.complete()
	return c, InOrder(append(errs, c.contradictions()...))
}

// complete fills in what follows from other options.
func (c *Config) complete() {
	if c.IdleTimeout == automatic {
		c.IdleTimeout = 3 * c.PingInterval // off when pings are
	}
	if c.Admin == besideProcessors {
		c.Admin = filepath.Join(filepath.Dir(c.Processors), "admin.sock")
	}
	for _, all := range [][]Listener{c.Listen, c.ListenTLS} {
		for i := range all {
			all[i].Auth = cmp.Or(all[i].Auth, c.Auth)
			all[i].ClientAuth = cmp.Or(all[i].ClientAuth, c.TLSClientAuth)
			if all[i].AllowFrom == nil {
				all[i].AllowFrom = c.AllowFrom
			}
		}
	}
}

// ParseCommand reads what was given to a command: options and arguments, in any
// order; behind -- there are only arguments. It sets the value of each option, to its
// default if the option was not given, and returns the arguments and every fault.
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
