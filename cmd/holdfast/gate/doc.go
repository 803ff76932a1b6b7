// Package gate holds back all accepting while an upgrade freezes the gateway, and
// counts what was accepted and is still on its way to a loop (gate.go has the theory
// of operation). It also serves HTTP behind the gate (http.go): one request a
// connection, so that no question is lost with a process that is being replaced.
//
// It imports nothing of Holdfast. A Gate may be used from any goroutine; Guard only
// before anything accepts. The listeners stay their owner's.
package gate
