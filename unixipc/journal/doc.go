// Package journal keeps the state of a process in memory that outlives it: a memfd that a
// keeper holds, too (unixipc/keep). A process that has died at any instruction, by SIGKILL,
// the OOM killer or a panic, leaves there what another one needs to go on. The package
// knows no charger: what it keeps are items, each an opaque blob in a slot, and what was
// read from the sockets and written to them.
//
// # Theory of operation
//
// A turn is a transaction. Its owner
//
//	reads from sockets       Read: the bytes land in shared memory, and the kernel itself
//	                         notes how many they are, beside them
//	handles what it read     in its own memory
//	writes down what changed Put and Drop: a second version beside the last valid one
//	commits                  Commit: one word, stored at once, makes the turn valid
//	writes to sockets        Write: the kernel itself notes how many bytes it took
//
// and nothing leaves the process that was not committed. So at any moment the memory says
// everything: the newest version of each item that is not newer than the word, how much of
// its output is written, and the bytes that were read since the word, which the dead
// process may have handled, with no effect that anybody has seen. Open returns all that.
//
// That the kernel notes the lengths is what recvmmsg and sendmmsg do: with one message they
// are recv and send that store the result in the caller's memory before they return, and no
// signal comes between the two. The pages of these notes must be present: they are locked.
//
// # Memory
//
//	header   one page: magic, the word, the notes of reads and of the write
//	arena    what was read in this turn; overwritten by the next
//	slots    64 bytes each: two versions, of which at most one is uncommitted
//	data     blocks for blobs, in size classes
//
// The file is sparse: it takes what is used. Where free blocks and slots are is known to
// the process alone; the next one writes a memory of its own, and this one is given up.
//
// A Journal belongs to one goroutine.
package journal
