// Holdfast holds the WebSocket connections of EV chargers and relays their
// messages to processors over Unix sockets.
//
// This package is the command line alone: a table of commands (command.go), and one
// small file for each of them, which parses, asks the running gateway through
// package admin, and prints. `holdfast serve` is package gateway. The folders beside
// it are the rooms of the gateway; imports_test.go lists which may import which.
package main
