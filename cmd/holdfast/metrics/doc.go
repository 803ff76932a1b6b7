// Package metrics defines every name of /metrics (metric.go), counts
// (counters.go), adds up what loops and former processes have counted (series.go),
// and serves it to Prometheus (exposition.go).
//
// LoopCounters belong to one loop and have no lock; Counters are for everything
// outside of the loops and have one. Samples are plain values.
package metrics
