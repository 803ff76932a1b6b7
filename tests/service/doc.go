// Package service has black-box tests of what the gateway tells a service manager and
// takes from it, with a manager that the test plays itself: which process tells what,
// and in which order. tests/e2e does it with a real systemd, where there is one.
package service
