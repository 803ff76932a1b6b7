// Package systemd speaks with the service manager: it takes the listening sockets
// that a socket unit passes (activation.go), reports readiness, state and the main
// process (notify.go), and feeds the watchdog while every loop turns (watchdog.go).
//
// It imports nothing of Holdfast: what is reported comes as functions, see Process.
// Run and Announce take a goroutine each; everything else may be called from any.
package systemd
