// Package proctest is a gateway for the tests of processors: it speaks the
// processor protocol on a socket, and the test plays the chargers.
//
//	gw := proctest.New(t)
//	go proc.Run(ctx, gw.Socket(), handle)
//
//	gw.Open("CP1", "ocpp1.6")
//	reply, err := gw.Call(ctx, "CP1", []byte(`[2,"1","Heartbeat",{}]`))
//	order, err := gw.Order(ctx, "CP1") // what the processor sent by itself
//	gw.DropLinks()                     // what is unacknowledged comes again
//	gw.CloseCharger("CP1", 1001, "")
//
// It works for processors in any language, and is as strict as the gateway with
// what they send. It is simpler where that does not show to a processor under
// test: a charger goes to the first link of its loop that takes its subprotocol
// and stays there; queues have no bounds; there are no acknowledgement time-outs
// and no limit of attempts; the window of a link is not enforced, only that of a
// charger.
//
// All methods may be called from any goroutine. Those that wait take a context.
package proctest
