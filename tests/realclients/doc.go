// Package realclients tests the gateway and cmd/processor with charger software that
// others wrote, so that what Holdfast believes about WebSocket and OCPP is not only
// checked against itself:
//
//	ocppgo16_test.go, ocppgo201_test.go  github.com/lorenzodonini/ocpp-go, which checks
//	                                     what it receives by its own struct tags
//	ocpprpc_test.go, ocpprpc.mjs         npm ocpp-rpc in strict mode, which checks
//	                                     both ways by the JSON schemas of OCPP
//
// Each lives through boot, heartbeat, a transaction and meter values.
package realclients
