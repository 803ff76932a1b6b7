// Package record is the TLS record layer of a connection whose handshake
// crypto/tls has done, TLS 1.2 (RFC 5246) and 1.3 (RFC 8446). It exists because
// its state is a plain value: another process goes on where this one stopped.
//
//	net.Conn ──▶ Server: crypto/tls does the handshake above a wire that lets
//	             it see one record at a time, and is then let go
//	         ──▶ Layer:  keys and sequence numbers; Open and Seal work on bytes
//	         ──▶ Conn:   a Layer over a net.Conn, for the HTTP request that follows
//
// Server, and a Conn, belong to the goroutine of a handshake; a Layer belongs
// to whoever holds it: afterwards that is an event loop. Nothing here knows
// WebSockets.
//
// A nonce is the sequence number, so a record number must never be sealed twice
// under one key. A Layer counts only forward; of two copies of its state, one
// in the old process and one in the new, only one is ever sealed with.
package record
