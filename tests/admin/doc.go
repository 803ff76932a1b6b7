// Package admin tests what operators have: the commands, and the metrics, of a
// running gateway.
package admin
