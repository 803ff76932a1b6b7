// Package gateway is the serving process: run.go sets it up and ends it, gateway.go
// handles signals and upgrades, handshaker.go lets chargers in, linkacceptor.go
// lets processors in, authorize.go decides who may connect, status.go answers
// operators, metricsserver.go answers Prometheus.
//
// Goroutines: one that handles signals (Run's own), one for each loop, one for
// each listener, one for each handshake up to -max-handshakes, one for each HELLO,
// and those of the two HTTP servers. A connection's fd belongs to the goroutine of
// its handshake until it is posted to its shard.
package gateway
