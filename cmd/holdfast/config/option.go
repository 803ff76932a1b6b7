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
	plain := strings.NewReplacer("-", "", "_", "")
	wrong := plain.Replace(strings.ToLower(name))
	best, least := "", float64(max(1, len(wrong)/3))
	for _, o := range opts {
		right := plain.Replace(o.Name)
		d := float64(distance(wrong, right))
		if len(wrong) >= 3 && (strings.HasPrefix(right, wrong) || strings.HasPrefix(wrong, right)) {
			d = min(d, d/100) // abbreviated, or with more behind it
		}
		if d < least || d == least && best == "" {
			best, least = o.Name, d
		}
	}
	if best == "" || len(wrong) < 3 {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", best)
}

// distance is how many letters must be added, dropped, changed, or swapped with their
// neighbour to make b of a: optimal string alignment.
func distance(a, b string) int {
	before, above, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, above, row = above, row, before
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(above[j+1]+1, row[j]+1, above[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}
