package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
)

// readConfig sets the options that a file has: on each line the name of an option, white
// space or =, and its value. # begins a comment at the beginning of a line. Options that
// are set already keep their value; those that may be given more than once get more.
func readConfig(path string, fs *flag.FlagSet) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	here := map[string]int{}
	for i, line := range bytes.Split(b, []byte("\n")) {
		text := strings.TrimSpace(string(line))
		if text == "" || text[0] == '#' {
			continue
		}
		name, value := cutName(text)
		at := fmt.Sprintf("%s:%d", path, i+1)
		repeats := name == "route" || name == "mirror" || name == "header"
		switch f := fs.Lookup(name); {
		case f == nil:
			return fmt.Errorf("%s: unknown option %q", at, name)
		case slices.Contains(only, name):
			return fmt.Errorf("%s: %s is for the command line", at, name)
		case here[name] > 0 && !repeats:
			return fmt.Errorf("%s: %s stands on line %d already", at, name, here[name])
		case given[name] && !repeats:
		default:
			if err := fs.Set(name, value); err != nil {
				return fmt.Errorf("%s: %s: %w", at, name, err)
			}
		}
		here[name] = i + 1
	}
	return nil
}

// cutName splits a line behind the name of its option.
func cutName(line string) (name, value string) {
	end := strings.IndexAny(line, " \t=")
	if end < 0 {
		return line, ""
	}
	value = strings.TrimSpace(line[end:])
	if rest, ok := strings.CutPrefix(value, "="); ok {
		value = strings.TrimSpace(rest)
	}
	return line[:end], value
}
