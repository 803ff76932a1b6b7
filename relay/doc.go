// Package relay decides which processor gets which message of which charger. It
// keeps every message until a processor acknowledges it, and passes orders from
// processors to chargers. It is the delivery logic of one loop, and pure: no
// I/O, no clock, no goroutine. The owner of the loop calls it for every event,
// sets the time with SetNow, and does what the relay asks for through Gateway.
//
// A charger belongs to one link at a time, its owner: the winner of rendezvous
// hashing over the identity among the links that take its subprotocol. It
// moves only while nothing of it is in flight, or when its owner has ended. This
// keeps the order of its messages across a change of owner.
//
// In the other direction, a CALL waits until its charger is free. The answer is
// matched by the message id, and goes to the link that asked.
//
// All methods are for the goroutine of the loop. A *Charger is valid from Opened
// until Closed. A *Link is valid from Join until Lost, or until Gateway.LinkReady
// finds it Ended.
//
// relay.go begins with a theory of operation.
package relay
