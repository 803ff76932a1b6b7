package proctest

import "holdfast/unixipc"

// Types of the protocol that a test needs. They are repeated here so that it
// needs to import no other package than proc and this one.
type (
	// HelloBody is how a processor has introduced itself on a link.
	HelloBody = unixipc.HelloBody
	// CloseBody is an order to close a connection.
	CloseBody = unixipc.CloseBody
	// AuthorizeBody describes a charger that wants to connect.
	AuthorizeBody = unixipc.AuthorizeBody
	// VerdictBody is a processor's answer to it.
	VerdictBody = unixipc.VerdictBody
	// Status is the outcome of an order; see Gateway.Answer.
	Status = unixipc.Status
)

// Outcomes of an order.
const (
	StatusOK          = unixipc.StatusOK
	StatusOffline     = unixipc.StatusOffline
	StatusClosed      = unixipc.StatusClosed
	StatusFull        = unixipc.StatusFull
	StatusRefused     = unixipc.StatusRefused
	StatusUnsupported = unixipc.StatusUnsupported
	StatusTimeout     = unixipc.StatusTimeout
)
