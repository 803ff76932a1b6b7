package route

import (
	"fmt"
	"slices"
	"strings"
)

// A Mirror sends copies of chargers' messages to a second central system.
type Mirror struct {
	Route
	// Calls are the actions that the second system may call; empty: none.
	Calls []string
	// Answers are the actions to which the charger gets the second system's answer.
	Answers []string
	// Main: what the main system sends is copied, too.
	Main bool
}

// Allows reports whether the second system may call an action.
func (m Mirror) Allows(action string) bool { return slices.Contains(m.Calls, action) }

// Decides reports whether the charger gets the second system's answer to an action.
func (m Mirror) Decides(action string) bool { return slices.Contains(m.Answers, action) }

// ParseMirror reads "GLOB[,subprotocol=…] URL[,calls=ACTION|…][,answers=ACTION|…][,main]".
func ParseMirror(value string) (m Mirror, err error) {
	main, options, _ := cutOptions(value)
	if m.Route, err = Parse(main); err != nil {
		return m, err
	}
	for _, option := range options {
		name, list, _ := strings.Cut(option, "=")
		switch {
		case name == "calls" && list != "":
			m.Calls = append(m.Calls, strings.Split(list, "|")...)
		case name == "answers" && list != "":
			m.Answers = append(m.Answers, strings.Split(list, "|")...)
		case option == "main":
			m.Main = true
		default:
			return m, fmt.Errorf("%q: behind the URL may come ,calls=ACTION|ACTION ,answers=ACTION|ACTION and ,main", option)
		}
	}
	return m, nil
}

// cutOptions cuts what comes behind the commas of the URL.
func cutOptions(value string) (main string, options []string, has bool) {
	pattern, rest, ok := strings.Cut(strings.TrimSpace(value), " ")
	if !ok {
		return value, nil, false
	}
	parts := strings.Split(rest, ",")
	return pattern + " " + parts[0], parts[1:], len(parts) > 1
}
