// Package conn holds WebSocket connections of chargers: the server side of
// RFC 6455 with RFC 7692, the handshake of OCPP-J section 3, and the state that
// lets another process continue a connection where this one stopped. It knows
// nothing of OCPP messages, of queues or of processors.
//
//	net.Conn ──▶ Handshake: reads the request, checks it, answers it
//	         ──▶ Take:      detaches the socket from Go's network poller
//	         ──▶ Loop.Add:  a Conn in the table of an event loop
//	         ──▶ Handler:   Message, Sent and, once, Closed
//
// To find a behaviour, start with these files: handshake.go (who is let in),
// refusal.go (why a charger is not), frame.go and decoder.go (bytes to messages),
// write.go (messages to bytes), ending.go (how a connection ends), reason.go
// (why it does), state.go and codec.go (what is handed over and how it is
// encoded), handover.go (when). Package conn/record is the TLS record layer.
//
// # Goroutines
//
// A Loop is one goroutine: the one that called Run. All methods of Loop, Conn
// and Source must be called on it, and all methods of Handler run on it. There
// are these exceptions:
//
//   - Loop.Post may be called from any goroutine.
//   - Before Run is called, Add, Adopt, Readopt, Unstage and Watch may be called
//     by the goroutine that built the loop.
//   - While the function given to Between runs, the loop stands still. The
//     goroutines that this function hands the loop to may call its methods, one
//     at a time.
//   - Close is called after Run has returned.
//
// Handshake.Serve and Refuse block. They run on the goroutine of the handshake,
// under the deadline that the caller has set on the net.Conn.
//
// # Who owns which file descriptor
//
//   - Take duplicates the descriptor of a net.Conn and closes the net.Conn. The
//     caller owns the duplicate.
//   - Add, Adopt and Watch take ownership of the descriptor if they succeed. If
//     they fail, the caller still owns it.
//   - The loop closes the descriptor of a Conn when the connection is gone.
//     Unstage closes it without ending the connection; so does Source.Release.
//   - Exported.FD is borrowed: it is valid while the loop stands still, or until
//     its next turn.
//
// # Who owns which bytes
//
//   - The payload of Handler.Message is valid during the call. It aliases the
//     loop's read buffer, which the next read overwrites.
//   - The result of Loop.Read is valid until the next read on that loop.
//   - Conn.Send copies its payload. The early bytes of Add are copied, too.
//   - A State is a plain value, but copies share its TLS layer and its buffers.
//     Only one of them may be used.
package conn
