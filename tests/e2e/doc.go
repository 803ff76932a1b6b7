// Package e2e installs the packages on a real systemd, in a container of its own, and
// lives an operator's first days there: start, reloads, a newer package, mistakes, a
// process that hangs, removal. Meanwhile chargers look for what they can notice.
//
//	root_test.go      a Debian system, made once and kept outside the tree
//	machine_test.go   a machine that boots it, and forgets everything afterwards
//	packages_test.go  the packages, and that the same commit makes the same bytes
//	chargers_test.go  simulated chargers in the network of the machine, which is loopback alone
//	day_test.go       what an operator does, in order
//
// It runs by `make e2e` only, since it needs root, debootstrap and systemd-nspawn; what
// is missing it says.
package e2e
