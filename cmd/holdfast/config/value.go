package config

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Value is where an option's text goes. Set is called once for each setting; its error
// names what is wanted instead.
type Value interface{ Set(s string) error }

// single is implemented by values that take one setting only.
type single interface{ single() bool }

// alone is implemented by values that need no text behind their flag.
type alone interface{ standsAlone() bool }

// StandsAlone reports whether a flag with this value needs none behind it.
func StandsAlone(v Value) bool {
	a, ok := v.(alone)
	return ok && a.standsAlone()
}

// The completion of shells knows these three from others by their types.
type (
	// TextValue takes any text.
	TextValue struct{ to *string }
	// BooleanValue takes true or false.
	BooleanValue struct{ to *bool }
	// ChoiceValue takes one of From.
	ChoiceValue struct {
		to   *string
		From []string
	}
)

type (
	list   struct{ to *[]string } // comma-separated
	number struct {
		to       *int
		min, max int
	}
	size struct { // bytes, with a suffix of KiB, MiB or GiB
		to       *int
		min, max int
	}
	duration struct {
		to       *time.Duration
		min, max time.Duration
	}
	autoDuration struct{ to *time.Duration } // a default that depends on others
	files        struct{ to *[]string }
	paths        struct{ to *[]string }
)

// Text returns a value that takes any text.
func Text(to *string) Value { return TextValue{to} }

// Boolean returns one that takes true or false, and true when it stands alone.
func Boolean(to *bool) Value { return BooleanValue{to} }

// Number returns one that takes a decimal number from min to max.
func Number(to *int, min, max int) Value { return number{to, min, max} }

// Choice returns one that takes one of those given.
func Choice(to *string, among ...string) Value { return ChoiceValue{to, among} }

// Duration returns one that takes a duration from min to max, such as 90s.
func Duration(to *time.Duration, min, max time.Duration) Value { return duration{to, min, max} }

// automatic stands for a default that is computed.
const automatic = time.Duration(-1)

func (TextValue) single() bool         { return true }
func (BooleanValue) single() bool      { return true }
func (BooleanValue) standsAlone() bool { return true }
func (list) single() bool              { return true }
func (ChoiceValue) single() bool       { return true }
func (number) single() bool            { return true }
func (size) single() bool              { return true }
func (duration) single() bool          { return true }
func (autoDuration) single() bool      { return true }

// Set implements Value.
func (v TextValue) Set(s string) error {
	*v.to = s
	return nil
}

// Set implements Value.
func (v BooleanValue) Set(s string) error {
	switch s {
	case "true", "on", "yes":
		*v.to = true
	case "false", "off", "no":
		*v.to = false
	default:
		return errors.New("want true or false")
	}
	return nil
}

func (v list) Set(s string) error {
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item == "" {
			return errors.New("an item of the list is empty")
		} else if strings.ContainsAny(item, " \t\"();/") {
			return fmt.Errorf("%q is not a token", item)
		} else if slices.Contains(*v.to, item) {
			return fmt.Errorf("%q stands there twice", item)
		}
		*v.to = append(*v.to, strings.TrimSpace(item))
	}
	return nil
}

// Set implements Value.
func (v ChoiceValue) Set(s string) error {
	if !slices.Contains(v.From, s) {
		return fmt.Errorf("want one of %s", strings.Join(v.From, ", "))
	}
	*v.to = s
	return nil
}

func (v number) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < v.min || n > v.max {
		return fmt.Errorf("want a number from %d to %d", v.min, v.max)
	}
	*v.to = n
	return nil
}

func (v size) Set(s string) error {
	digits, shift := s, 0
	for i, suffix := range []string{"KiB", "MiB", "GiB"} {
		if d, ok := strings.CutSuffix(s, suffix); ok {
			digits, shift = d, 10*(i+1)
		}
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n < 0 || n > v.max>>shift || n<<shift < v.min {
		return fmt.Errorf("want bytes from %d to %d, such as 64KiB or 1MiB", v.min, v.max)
	}
	*v.to = n << shift
	return nil
}

func (v duration) Set(s string) error {
	d, err := time.ParseDuration(s)
	if err != nil || d < v.min || d > v.max {
		return fmt.Errorf("want a duration from %v to %v, such as 90s or 5m", v.min, v.max)
	}
	*v.to = d
	return nil
}

func (v autoDuration) Set(s string) error {
	if strings.HasSuffix(s, "ping intervals") {
		*v.to = automatic
		return nil
	}
	return duration{v.to, 0, 24 * time.Hour}.Set(s)
}

func (v files) Set(s string) error {
	*v.to = append(*v.to, s)
	return nil
}

func (v paths) Set(s string) error {
	u, err := url.ParseRequestURI(s)
	if err != nil || u.Path != s || u.EscapedPath() != s || !strings.HasPrefix(s, "/") || !strings.HasSuffix(s, "/") {
		return errors.New("want a path that begins and ends with a slash, such as /ocpp/")
	}
	if !slices.Contains(*v.to, s) {
		*v.to = append(*v.to, s)
	}
	return nil
}
