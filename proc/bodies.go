package proc

import "holdfast/unixipc"

// What the gateway and a processor exchange about a charger. The types
// are those of the protocol (docs/protocol.md); they are repeated here so that
// a processor needs to import no other package than this one.
type (
	// WelcomeBody describes the gateway and its limits.
	WelcomeBody = unixipc.WelcomeBody
	// OpenedBody describes a connection that a charger has opened.
	OpenedBody = unixipc.OpenedBody
	// ClosedBody describes how a connection has ended.
	ClosedBody = unixipc.ClosedBody
	// AuthorizeBody describes a charger that wants to connect.
	AuthorizeBody = unixipc.AuthorizeBody
	// VerdictBody is the answer to an AuthorizeBody.
	VerdictBody = unixipc.VerdictBody
	// BasicBody holds a user name and password, if the charger sent them.
	BasicBody = unixipc.BasicBody
	// TLSBody holds what a charger on wss and the gateway agreed on.
	TLSBody = unixipc.TLSBody
	// CertificateBody holds the names in a charger's own certificate.
	CertificateBody = unixipc.CertificateBody
)
