// Package keep lets the sockets of a process outlive it. A keeper, a process of its own,
// holds a duplicate of each file descriptor that the owner has put there, and the memory
// in which the owner writes down its state (unixipc/journal). It never reads or writes a
// byte of what it holds, and it knows no charger: a file descriptor has an id, which is
// the owner's affair. When the owner has died, the next one claims everything and goes on.
//
// # Theory of operation
//
// The two speak over a Unix socket of type SOCK_SEQPACKET: what is sent by one call
// arrives in one piece, with its file descriptors, or does not arrive.
//
//	claimant                                keeper
//	 │ CLAIM  version; its pidfd ──────────▶ │ or REFUSED, and the connection is closed
//	 │ ◀────── STATE  how many items; memory │
//	 │ ◀────── ITEMS  ids, file descriptors  │
//	 │ TOOK  for each ITEMS ───────────────▶ │ four ITEMS are unanswered at most
//	 │ ◀──────────────────────────────── END │
//	 │ PUT, DROP ──────────────────────────▶ │
//	 │ VALID  its memory, its pidfd ───────▶ │ from here on it is the owner
//	 │ PUT, DROP … ────────────────────────▶ │
//	 │ ◀──────────────────────────── REFUSED │ at a fault; the connection is closed
//
// There is one owner at most: a claim is refused while the process of the last CLAIM or
// VALID lives, by the kernel's word (its pidfd), and while anybody has its connection. In an
// upgrade that is the next process: it owns everything from the moment in which it has read
// COMMIT, and says VALID only then. Before the keeper believes a death it reads all that the
// process had sent.
//
// States of the owner (state in keeper.go):
//
//	nobody ──CLAIM──▶ claiming ──END──▶ claimed ──VALID──▶ owned ──VALID──▶ owned
//	   ▲                 │                 │                 │
//	   └──── death ──────┴─────────────────┴─────────────────┘
//
// Until its VALID a claimant may die as if it had never been: the memory of the process
// before stays the valid one, what it has PUT stays, and what it has DROPped stays, too,
// because DROPs are held back until VALID. From its VALID on, DROPs act at once.
//
// In an upgrade of the gateway the next process inherits a duplicate of the owner's
// connection. It becomes the owner by a VALID with its own pidfd; nothing else changes.
//
// An owner whose connection has ended while its process lives has everything kept until
// that is dead. It may claim again. Another claimant waits for its death for 2 s at most:
// it may be on its way.
//
// If there is no owner for Options.KeepFor, counted from the death, everything is ended:
// the sockets and the memory are closed.
//
// # Who owns which file descriptor
//
// What is given to Put and Valid stays the caller's; the keeper has duplicates. It closes
// them at DROP without a shutdown, which is the owner's to do, and at its own end. What
// Claim returns are duplicates that belong to the caller; the keeper goes on holding its
// own. Every file descriptor of the package is close-on-exec, but for the moment in which
// the keeper replaces itself.
//
// # The keeper's own release
//
// Exec replaces the program of the keeper's process and keeps everything: the file
// descriptors stay open, and their numbers with all else are JSON in a memfd, whose number
// is in the environment (exec.go). Resume reads it. A field that it does not know is left
// out, one that is missing is zero; savedVersion changes if that does not do.
//
// # Limits
//
// A message has at most 64 KiB and 253 file descriptors (SCM_MAX_FD). Items are limited by
// RLIMIT_NOFILE of the keeper, of which it keeps a reserve for claims. File descriptors
// in flight are limited per user, by RLIMIT_NOFILE of the sender.
//
// A Keeper and an Owner belong to one goroutine each. Versions: 1, the only one so far.
package keep
