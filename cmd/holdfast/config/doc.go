// Package config reads what an operator can set, and reports every fault in it with
// its file and line.
//
//	config.go          what can be set
//	options.go         the table: name, default, help and value of each option
//	option.go          one row of it; also of the tables of commands
//	value.go           what a value may be; listener.go, address.go and group.go, too
//	setting.go         names and values as flags and the file spell them
//	parse.go           from the command line to a Config
//	contradictions.go  faults of values that are each valid
//
// It has no side effects: it reads the configuration file and the system's groups,
// and changes nothing. Of Holdfast it imports conn, for the names of tolerances. Any goroutine may call it; a
// Config is not changed once Parse has returned it.
package config
