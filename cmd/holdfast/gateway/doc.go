// Package gateway is the serving process. gateway.go has the theory of operation.
//
//	run.go            from the command line to serve
//	new.go            makes or adopts the listeners, and wires everything
//	serve.go          signals and upgrades, one at a time
//	upgrades.go       before and after an upgrade; package upgrade does it
//	shutdown.go       closes the chargers and ends
//	handshaker.go     lets chargers in; authorize.go decides who may connect
//	linkacceptor.go   lets processors in
//	status.go         answers operators
//	metricsserver.go  answers Prometheus, from counters.go and health.go
//
// Goroutines: one that handles signals (Run's own), one for each loop, one for
// each listener, one for each handshake up to -max-handshakes, one for each HELLO,
// and those of the two HTTP servers. A connection's fd belongs to the goroutine of
// its handshake until it is posted to its shard.
package gateway
