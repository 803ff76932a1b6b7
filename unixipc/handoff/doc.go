// Package handoff moves what a process holds to its successor: pairs of a file
// descriptor and opaque bytes, in two phases. It knows nothing of what they
// mean. The two ends are joined by a socket pair that only the successor
// inherits.
//
//	Old                                      New
//	 │ ◀──────────────────────────── HELLO   │ which versions of the state it reads
//	 │ BEGIN  version, note ───────────────▶ │
//	 │ ITEMS  put, update, drop ───────────▶ │ stage; each batch is answered with TOOK
//	 │ SEALED counts, checksum ────────────▶ │ verify everything
//	 │ ◀───────────────────────── PREPARED   │ or REFUSED with the reason
//	 │ COMMIT ─────────────────────────────▶ │
//	 │ ◀─────────────────────────── ACTIVE   │ before it touches a byte
//	 │ LATE   items ───────────────────────▶ │ until END, or the end of the stream
//
// Until COMMIT is sent, Old may go away from the hand-over at any step, and New
// must not act on what it has. From then on until ACTIVE nobody knows who owns
// the connections: Old may only go on if New is dead, and ACTIVE is not among
// what it has left in the socket (Old.SawActive). New owns them from the moment
// in which it has read COMMIT; the end of the stream is never a COMMIT.
//
// File descriptors given to Put stay the caller's. Those that New receives are
// the Stager's as soon as it was called with them.
package handoff
