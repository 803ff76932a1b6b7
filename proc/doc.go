// Package proc is the Go SDK for processors: programs that receive the
// messages of chargers from the gateway and answer them. docs/protocol.md is
// the contract on the wire; a processor in Go needs only this:
//
//	func main() {
//		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
//		defer stop()
//		err := proc.Run(ctx, "/run/holdfast/processors.sock", handle)
//		…
//	}
//
//	func handle(ctx context.Context, ch *proc.Charger, m proc.Message) ([]byte, error)
//
// What Run promises the handler:
//
//   - Of one charger, one thing at a time, in the order the gateway delivered
//     it: Opened, messages, Closed. Different chargers run in parallel, at most
//     Config.Concurrency of them.
//   - The reply travels in the acknowledgement, as one frame. A crash before it
//     means that another processor gets the message, marked redelivered.
//   - A lost link is joined again, for ever. What it had not yet begun is
//     dropped here and redelivered by the gateway; what had begun finishes, but
//     its acknowledgement goes nowhere, so the message comes again.
//   - When ctx ends, no new chargers come, what is here is finished, and Run
//     returns nil. A release loses nothing and repeats nothing.
//
// Programs that only ask, such as a web API, use a Client instead (Dial): it
// takes no deliveries, calls chargers, lists and watches them.
//
// Who owns what:
//
//	loop        keeps one link to its loop of the gateway up, until ctx ends
//	link        one connection: reads frames, collects and writes frames,
//	            matches RESULT with the order that waits for it
//	dispatcher  the deliveries that are here, per charger, and the workers
//
// The path of a message: the link's reader takes all frames that one read
// brought and hands them to the dispatcher at once; a worker takes the charger
// off the run queue and calls the handler; the ACK is appended to the link's
// buffer, which is written when the workers run out of work. So a batch costs
// one read and about one write, and a charger with nothing pending costs nothing
// at all: no goroutine, no map entry.
//
// proc/proctest is a gateway for tests. docs/sdk.md describes how a module outside
// this one gets the SDK.
package proc
