// Package addresses counts what comes from each network address, so that one of them
// cannot take what all need: handshakes in progress, and answers to wrong passwords.
//
// An IPv6 address counts by its /64, which is what one customer has. Addresses of
// balancers and proxies, behind which many chargers are, are trusted and not counted.
//
// It imports nothing of Holdfast. A Table may be used by any goroutine: it is asked once
// or twice for each handshake, never for a message.
package addresses
