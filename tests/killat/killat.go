// Package killat kills a program with SIGKILL before, after or behind its n-th system call
// of those that matter, so that kills are enumerated and not sampled.
//
// tests/cmd/killat runs the program as its own child, which ptrace(2) permits wherever it
// is permitted at all, and traces all its threads. A test speaks to it over a Unix socket,
// whose path is in the environment (Socket), in lines of JSON: it sends an Order, and gets
// Reports. The connection's end ends killat.
//
//	killat                                     test
//	  │ starts the program, stopped at exec      │
//	  │ Report: Pid ───────────────────────────▶ │
//	  │ ◀────────────── Order: what to do first  │   None: it runs untraced until the next
//	  │ … runs                                   │
//	  │ ◀──────────────────────────────── Order  │
//	  │ attaches to all threads                  │
//	  │ Report: Armed ─────────────────────────▶ │   counts from here
//	  │ … it makes system calls                  │
//	  │ Report: Killed ────────────────────────▶ │   it is dead, and reaped
//
// A thread that stops before its system call when SIGKILL is sent does not make it: the
// kernel looks for the signal between the two (ptrace_report_syscall_entry). A thread that
// stops after it has not run a single instruction since.
package killat

import (
	"encoding/json"
	"net"
)

// Names in the environment.
const (
	Socket = "HOLDFAST_KILLAT_SOCKET" // of the test
	Binary = "HOLDFAST_KILLAT_BINARY" // the program, which gets the arguments of killat
)

// When says where the kill falls.
type When string

const (
	None   When = ""       // nowhere; the calls are counted
	Before When = "before" // the call is not made
	After  When = "after"  // it is made, and nothing behind it
	Behind When = "behind" // later, before the instruction Order.At or the thread's next system call
	Stop   When = "stop"   // not an order to kill: no more, and report the Calls
)

// Order is what a test wants: a kill at the N-th call of a Kind since the Order, from 1.
// How often a kind is called is nearly the same each time, how the kinds mix is not.
type Order struct {
	When When
	Kind string `json:",omitempty"` // Call.Kind; "": any
	N    int

	// With Behind: the instruction before which the kill falls, and when the thread comes to
	// it for which time. At 0: the thread's next call.
	At    uint64 `json:",omitempty"`
	Times int    `json:",omitempty"`
}

// Call is a system call that matters.
type Call struct {
	N      int // among all
	Nth    int // of its kind
	Name   string
	On     string // what its file descriptor is
	FD     int
	Result int64 // of it; a negative errno
	Made   bool
	Thread int
}

// Kind is the call, and on what.
func (c Call) Kind() string { return c.Name + " (" + c.On + ")" }

// meant reports whether the order is for this call.
func (o Order) meant(c Call, when When) bool {
	if o.When != when {
		return false
	}
	return o.Kind == "" && o.N == c.N || o.Kind != "" && o.Kind == c.Kind() && o.N == c.Nth
}

// Killed is how the program ended.
type Killed struct {
	Call
	When When

	// With Behind:
	Path  []uint64 `json:",omitempty"` // addresses of the instructions; with Order.At only of the last one
	Steps int      // how many there were
	Next  bool     // it was about to make its next system call
}

// Report is what killat says.
type Report struct {
	Pid    int     `json:",omitempty"`
	Armed  bool    `json:",omitempty"`
	Killed *Killed `json:",omitempty"`
	Calls  []Call  `json:",omitempty"` // of Stop
	Ended  bool    `json:",omitempty"` // the program ended otherwise
	Err    string  `json:",omitempty"` // it cannot be traced
}

// Control is a connection between the two.
type Control struct {
	conn net.Conn
	in   *json.Decoder
	out  *json.Encoder
}

// NewControl is one end.
func NewControl(c net.Conn) *Control {
	return &Control{c, json.NewDecoder(c), json.NewEncoder(c)}
}

// Send sends an Order or a Report.
func (c *Control) Send(v any) error { return c.out.Encode(v) }

// Receive receives one.
func (c *Control) Receive(v any) error { return c.in.Decode(v) }

// Close ends it.
func (c *Control) Close() error { return c.conn.Close() }
