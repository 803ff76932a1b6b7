// Package config reads what an operator can set: the options that flags and the
// configuration file share, their defaults, and every fault in them with its file
// and line. It has no side effects: it reads the configuration file and the
// system's groups, and changes nothing.
//
// It imports nothing of Holdfast. Anybody may call it from any goroutine; a Config
// is not changed once Parse has returned it.
package config
