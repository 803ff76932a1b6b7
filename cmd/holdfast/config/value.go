package config

import (
	"errors"
	"fmt"
	"net/url"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Value is where an option's text goes. set is called once for each setting.
type Value interface{ Set(s string) error }

// single values take one setting only.
type single interface{ single() bool }

type (
	TextValue    struct{ to *string }
	BooleanValue struct{ to *bool }
	list         struct{ to *[]string } // comma-separated
	ChoiceValue  struct {
		to   *string
		From []string
	}
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
	address      struct{ to *string }
	files        struct{ to *[]string }
	group        struct{ to *string }
	paths        struct{ to *[]string }
)

// Define makes an option of a command.
func Define(name, def, help string, v Value) Option { return Option{name, def, help, v} }

// Text takes any text.
func Text(to *string) Value { return TextValue{to} }

// Boolean takes true or false, and true when it stands alone.
func Boolean(to *bool) Value { return BooleanValue{to} }

// Number takes a decimal number from min to max.
func Number(to *int, min, max int) Value { return number{to, min, max} }

// Duration takes a duration from min to max, such as 90s.
func Duration(to *time.Duration, min, max time.Duration) Value { return duration{to, min, max} }

// automatic stands for a default that is computed.
const automatic = time.Duration(-1)

func (TextValue) single() bool    { return true }
func (BooleanValue) single() bool { return true }
func (list) single() bool         { return true }
func (ChoiceValue) single() bool  { return true }
func (number) single() bool       { return true }
func (size) single() bool         { return true }
func (duration) single() bool     { return true }
func (autoDuration) single() bool { return true }
func (address) single() bool      { return true }
func (group) single() bool        { return true }

func (v TextValue) Set(s string) error {
	*v.to = s
	return nil
}

func (v BooleanValue) Set(s string) (err error) {
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

func (v address) Set(s string) error {
	*v.to = s
	return checkAddress(s)
}

func (v group) Set(s string) error {
	*v.to = s
	_, err := LookupGroup(s)
	return err
}

// LookupGroup is the id of a group, which is named or a number.
func LookupGroup(s string) (int, error) {
	if g, err := user.LookupGroup(s); err == nil {
		s = g.Gid
	}
	gid, err := strconv.Atoi(s)
	if err != nil || gid < 0 {
		return -1, errors.New("there is no such group")
	}
	return gid, nil
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
