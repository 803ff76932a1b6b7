package config

import (
	"fmt"
	"slices"
	"strings"
)

// Option is one name that flags and the configuration file share.
type Option struct {
	Name, Default, Help string
	Value               Value
}

// Define makes an option of a command.
func Define(name, def, help string, v Value) Option { return Option{name, def, help, v} }

// Find returns the option of a name; nil if there is none.
func Find(opts []Option, name string) *Option {
	if i := slices.IndexFunc(opts, func(o Option) bool { return o.Name == name }); i >= 0 {
		return &opts[i]
	}
	return nil
}

// valueOf returns the value of o; nil if o is.
func valueOf(o *Option) Value {
	if o == nil {
		return nil
	}
	return o.Value
}

// suggest returns the end of a fault that names the option that is most likely meant;
// empty if none is.
func suggest(opts []Option, name string) string {
	for _, o := range opts {
		if len(name) >= 3 && (strings.HasPrefix(o.Name, name) || strings.HasPrefix(name, o.Name) ||
			strings.ReplaceAll(o.Name, "-", "") == strings.ReplaceAll(strings.ReplaceAll(name, "_", ""), "-", "")) {
			return fmt.Sprintf("; did you mean %s?", o.Name)
		}
	}
	return ""
}
