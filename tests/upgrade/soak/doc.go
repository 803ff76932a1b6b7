// Package soak upgrades a gateway many times in a row, under load, while its
// processors are killed, drained and started again at random; and looks for what
// chargers notice, and for what grows: file descriptors, threads, memory.
//
// tests/upgrade has a short one as a test, tests/cmd/soak is the long one.
package soak
