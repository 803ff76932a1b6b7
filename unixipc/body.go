package unixipc

import "time"

// HelloBody is the payload of HELLO.
type HelloBody struct {
	// Name of the processor, 1 to 64 printable ASCII characters. The share of
	// the chargers that a processor owns follows from it: a processor that
	// comes back under its name gets its chargers back.
	Name string `json:"name"`
	// Loop is the loop of the gateway that this link belongs to, 0 ≤ Loop <
	// WelcomeBody.Loops. A processor opens one link for each.
	Loop int `json:"loop"`
	// Subprotocols that the processor takes; empty: all.
	Subprotocols []string `json:"subprotocols,omitempty"`
	// Window is how many deliveries may be unacknowledged on the link at once;
	// 0: the gateway's default. The gateway lowers it to its limit.
	Window int `json:"window,omitempty"`
	// ChargerWindow is the same for the deliveries of one charger. With 1 the
	// next delivery of a charger comes when the one before is acknowledged.
	ChargerWindow int `json:"charger_window,omitempty"`
	// Authorize: the processor answers AUTHORIZE.
	Authorize bool `json:"authorize,omitempty"`
	// AskOnly: the link takes no deliveries, so it never owns a charger.
	AskOnly bool `json:"ask_only,omitempty"`
}

// WelcomeBody is the payload of WELCOME.
type WelcomeBody struct {
	Gateway string `json:"gateway"` // version of the gateway's program
	// Instance names the start of the gateway. An upgrade keeps it; a gateway
	// that was restarted, or has crashed, has another. Empty: an older gateway.
	Instance string `json:"instance,omitempty"`
	// Warnings are what the gateway takes in the HELLO, but not as it was meant,
	// such as a subprotocol that it does not speak. They are for people.
	Warnings []string `json:"warnings,omitempty"`

	Loops         int   `json:"loops"`          // how many loops it runs
	Window        int   `json:"window"`         // deliveries unacknowledged on this link at most
	ChargerWindow int   `json:"charger_window"` // and of one charger at most
	MaxMessage    int   `json:"max_message"`    // longest message, bytes, either way
	MaxNote       int   `json:"max_note"`       // longest note of a charger, bytes; 0: an older gateway, which keeps none
	AckTimeoutMS  int64 `json:"ack_timeout_ms"` // a delivery unacknowledged for longer closes the link

	CallTimeoutMS    int64 `json:"call_timeout_ms"`     // of a CALL that names no limit
	MaxCallTimeoutMS int64 `json:"max_call_timeout_ms"` // a longer limit is lowered to it
	CallQueue        int   `json:"call_queue"`          // CALLs of one charger at most, with the one it works on
}

// OpenedBody is the payload of OPENED.
type OpenedBody struct {
	Subprotocol string    `json:"subprotocol"`
	Path        string    `json:"path"`   // prefix of the request's path, before the identity
	Remote      string    `json:"remote"` // address:port
	Opened      time.Time `json:"opened"`
	Moved       bool      `json:"moved,omitempty"` // held since before; new for this processor
	// Gone, with Moved: the charger has left meanwhile. What it left follows, with
	// CLOSED at the end.
	Gone bool `json:"gone,omitempty"`
	// Reconnects is how many earlier connections of the charger are reported by this
	// OPENED alone: no processor has seen them, and no message came by them.
	Reconnects int `json:"reconnects,omitempty"`

	TLS         *TLSBody         `json:"tls,omitempty"`         // of a charger on wss
	Certificate *CertificateBody `json:"certificate,omitempty"` // the charger's own, verified

	Note []byte `json:"note,omitempty"` // what a processor has left with the connection
}

// MaxNote is the longest note, in bytes.
const MaxNote = 1024

// AckBody is the payload of the ACK of an OPENED, if it has one.
type AckBody struct {
	// Note to be left with the connection. An empty one removes the note that there
	// is; nil leaves it as it is.
	Note []byte `json:"note"`
}

// TLSBody is what a charger and the gateway agreed on.
type TLSBody struct {
	Version string `json:"version"` // such as "TLS 1.3"
	Suite   string `json:"suite"`   // IANA name
}

// CertificateBody is what a charger's certificate says.
type CertificateBody struct {
	Subject string   `json:"subject"` // RFC 2253
	SANs    []string `json:"sans,omitempty"`
}

// ClosedBody is the payload of CLOSED.
type ClosedBody struct {
	Code   int    `json:"code"` // RFC 6455 section 7.4; 1006: the connection broke
	Reason string `json:"reason"`
	By     string `json:"by"` // charger, processor, operator, gateway or network
	// NotTaken is how many messages came when the charger's queue was full and its
	// connection ended. No processor gets them; the charger has no answer to them.
	NotTaken int `json:"not_taken,omitempty"`
}

// NackBody is the payload of NACK.
type NackBody struct {
	RetryAfterMS int64 `json:"retry_after_ms,omitempty"`
}

// CloseBody is the payload of CLOSE.
type CloseBody struct {
	Code   int    `json:"code,omitempty"` // 0: 1000
	Reason string `json:"reason,omitempty"`
	Drop   bool   `json:"drop,omitempty"` // without a Close frame; there is no code then
}

// AuthorizeBody is the payload of AUTHORIZE: a charger that wants to connect.
type AuthorizeBody struct {
	Identity    string           `json:"identity"`
	Path        string           `json:"path"` // prefix of the request's path, before the identity
	Subprotocol string           `json:"subprotocol"`
	Remote      string           `json:"remote"` // address:port
	Basic       *BasicBody       `json:"basic,omitempty"`
	TLS         *TLSBody         `json:"tls,omitempty"`
	Certificate *CertificateBody `json:"certificate,omitempty"` // the charger's own, verified
	// Note is what a processor has left with the connection that the charger has, or
	// had, if it is still known.
	Note []byte `json:"note,omitempty"`
}

// BasicBody is what stands in Authorization: Basic. Both may be any bytes; in
// JSON they are base64.
type BasicBody struct {
	Username []byte `json:"username"`
	Password []byte `json:"password"`
}

// VerdictBody is the payload of VERDICT.
type VerdictBody struct {
	Accept bool `json:"accept"`
	// Status is the HTTP status of a refusal, 400 to 599: 401 (the password is
	// wrong; a charger may report that), 403, 404 (unknown), 503 (later). Another
	// one, or none, is 403.
	Status int `json:"status,omitempty"`
	// Reason is for the gateway's log, and the text of the response.
	Reason string `json:"reason,omitempty"`
	// Note to be left with the connection, if it is accepted; at most MaxNote bytes.
	Note []byte `json:"note,omitempty"`
}

// Refusal is the HTTP status of a VERDICT that does not accept.
func (v VerdictBody) Refusal() int {
	if v.Status < 400 || v.Status > 599 {
		return 403
	}
	return v.Status
}

// Status is the outcome in a RESULT.
type Status string

const (
	StatusOK          Status = "ok"          // written to the charger's socket; for CLOSE: ordered
	StatusOffline     Status = "offline"     // no such charger is connected
	StatusClosed      Status = "closed"      // the connection ended first
	StatusFull        Status = "full"        // the charger does not read, its buffer is full
	StatusRefused     Status = "refused"     // the order itself is at fault; see Detail
	StatusUnsupported Status = "unsupported" // this version of the gateway cannot do it
	StatusTimeout     Status = "timeout"     // of a CALL: no answer within its limit
)

// ResultBody is the payload of RESULT without the flag Answered.
type ResultBody struct {
	Status Status `json:"status"`
	Detail string `json:"detail,omitempty"`
	// Of a CALL: how long it took, and whether it was sent to the charger,
	// which may have done what it asks for.
	MS   int64 `json:"ms,omitempty"`
	Sent bool  `json:"sent,omitempty"`
}

// GlobBody is the payload of TAP and WATCH.
type GlobBody struct {
	Glob string `json:"glob"` // over identities, in the syntax of path.Match; at most MaxGlob bytes
}

// MaxGlob is the longest glob, in bytes.
const MaxGlob = 512

// Events of a SEEN.
const (
	SeenBegin  = "begin"  // the list of held chargers begins, perhaps anew: forget what you have seen
	SeenHeld   = "held"   // it holds this one
	SeenEnd    = "end"    // it is complete; changes follow
	SeenOpened = "opened" // a charger has connected
	SeenClosed = "closed" // its connection has ended
)

// SeenBody is the payload of SEEN.
type SeenBody struct {
	Event string `json:"event"`
	*OpenedBody
	*ClosedBody
	// Of a charger that is held: its owner's name, empty if it has none, and how
	// many deliveries it has unacknowledged.
	Processor string `json:"processor,omitempty"`
	Queued    int    `json:"queued,omitempty"`
}

// RefusedBody is the payload of REFUSED.
type RefusedBody struct {
	Why      string `json:"why"`
	Versions []int  `json:"versions,omitempty"` // protocol versions the gateway speaks, if that of the HELLO is why
	Retry    bool   `json:"retry,omitempty"`    // the same may be welcome later: not the processor's fault
}
