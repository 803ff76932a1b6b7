// Package relay decides which processor gets which message of which charger,
// keeps every message until it is acknowledged, and carries orders the other
// way. It is the delivery logic of one loop, pure: no I/O, no clock, no
// goroutine. Whoever owns the loop calls it when something happened, passes
// the time with SetNow, and carries out what it asks for through Gateway.
//
// A charger belongs to one link at a time, its owner: the winner of rendezvous
// hashing over the identity among the links that take its subprotocol. It
// moves only while nothing of it is in flight, or when its owner is gone; that
// keeps order across a change of owner.
//
// The other way, a CALL waits in its charger's line until the charger is free,
// and its answer, found by the message id, goes to whichever link asked.
//
// What may be called when: everything from the goroutine of the loop; a
// *Charger from Opened until Closed; a *Link from Join until Lost, or until
// Gateway.LinkReady found it Ended.
package relay
