package conn

import (
	"fmt"
	"net/http"
)

// Refusal is a handshake that ended without a connection: the HTTP response,
// or the close code, that the charger received.
type Refusal struct {
	Name       string // of its RefusalReason
	Identity   string // as far as it was known
	Target     string // of the request: its path, for the log; "": there was none
	Status     int    // HTTP; 101: the WebSocket was opened and closed with Code; 0: answered with a TLS alert
	Code       int    // close code
	Why        string // for the log, and for the charger unless Told is set
	Told       string // to the charger, which may be a stranger
	RetryAfter int    // seconds; 0: not sent
	Challenge  bool   // WWW-Authenticate is sent
}

func (r *Refusal) Error() string { return r.Why }

// RefusalReason is one cause for which a handshake is refused. All of them are
// in RefusalReasons, those of the users of this package included.
type RefusalReason struct {
	Name        string // stable, short
	Status      int    // HTTP, as in Refusal; 0: set by whoever makes the Refusal, or no HTTP at all
	Code        int    // close code, with status 101
	RetryAfter  int    // seconds; 0: not sent
	Challenge   bool   // WWW-Authenticate is sent
	Format      string // of the text that is sent and logged, for fmt.Sprintf
	Explanation string // for operators, one line
}

// Refusal returns the Refusal for r. args fill r.Format.
func (r *RefusalReason) Refusal(args ...any) *Refusal {
	text := r.Format
	if len(args) > 0 {
		text = fmt.Sprintf(r.Format, args...)
	}
	return &Refusal{Name: r.Name, Status: r.Status, Code: r.Code, Why: text, RetryAfter: r.RetryAfter, Challenge: r.Challenge}
}

// RefusalReasons lists every RefusalReason, in the order of docs/operations.md.
var RefusalReasons []*RefusalReason

func refusal(r RefusalReason) *RefusalReason {
	RefusalReasons = append(RefusalReasons, &r)
	return &r
}

// The request is at fault: RFC 6455 section 4.2.1, OCPP-J section 3.
var (
	refusalTLS = refusal(RefusalReason{
		Name: "tls-on-ws", Format: "TLS on a port for ws",
		Explanation: "The charger is set to wss, but the port is one of listen. The answer is a TLS alert.",
	})
	RefusalPlainHTTP = refusal(RefusalReason{
		Name: "http-on-wss", Status: http.StatusBadRequest, Format: "plain HTTP on a port for wss: the address begins with wss://",
		Explanation: "The charger is set to ws, but the port is one of listen-tls.",
	})
	refusalTooLarge = refusal(RefusalReason{
		Name: "request-too-large", Status: http.StatusRequestHeaderFieldsTooLarge, Format: "request is over %d bytes",
		Explanation: "The head of the request exceeds the limit: mostly no charger.",
	})
	refusalNotHTTP = refusal(RefusalReason{
		Name: "not-http", Status: http.StatusBadRequest, Format: "not an HTTP request: %v",
		Explanation: "The request cannot be parsed: mostly a port scan.",
	})
	refusalPath = refusal(RefusalReason{
		Name: "path", Status: http.StatusNotFound, Format: "no such path; a charger connects to a prefix followed by its identity",
		Explanation: "The URL of the charger is under no path of the configuration, or has a segment too many.",
	})
	refusalIdentity = refusal(RefusalReason{
		Name: "identity", Status: http.StatusBadRequest, Format: "%v",
		Explanation: "The identity in the URL is missing or malformed; the text says how.",
	})
	refusalMethod = refusal(RefusalReason{
		Name: "method", Status: http.StatusMethodNotAllowed, Format: "a WebSocket is opened with GET",
		Explanation: "RFC 6455 section 4.2.1: not a charger, or a proxy that rewrites requests.",
	})
	refusalHTTPVersion = refusal(RefusalReason{
		Name: "http-version", Status: http.StatusBadRequest, Format: "a WebSocket needs HTTP/1.1",
		Explanation: "RFC 6455 section 4.2.1: a proxy may speak HTTP/1.0; set it to 1.1.",
	})
	refusalHTTPMajor = refusal(RefusalReason{
		Name: "http-major", Status: http.StatusHTTPVersionNotSupported, Format: "%s is not spoken here: a WebSocket needs HTTP/1.1",
		Explanation: "RFC 9110 section 15.6.6: another major version of HTTP, such as a client that assumes HTTP/2.",
	})
	refusalHost = refusal(RefusalReason{
		Name: "host", Status: http.StatusBadRequest, Format: "header Host %s",
		Explanation: "RFC 9112 section 3.2: the header Host is missing, stands there twice, or is invalid. Mostly a scanner.",
	})
	refusalTwice = refusal(RefusalReason{
		Name: "header-twice", Status: http.StatusBadRequest, Format: "%s stands there twice",
		Explanation: "RFC 6455 section 11.3: the header may appear once. A firmware or a proxy adds it again.",
	})
	refusalBody = refusal(RefusalReason{
		Name: "body", Status: http.StatusBadRequest, Format: "a request that opens a WebSocket has no body",
		Explanation: "The request has a Content-Length or a Transfer-Encoding.",
	})
	refusalNoUpgrade = refusal(RefusalReason{
		Name: "no-upgrade", Status: http.StatusUpgradeRequired, Format: "this is a WebSocket endpoint: Upgrade: websocket is missing",
		Explanation: "A browser or a health check, or a proxy that drops the header Upgrade.",
	})
	refusalNoConnection = refusal(RefusalReason{
		Name: "no-connection-upgrade", Status: http.StatusBadRequest, Format: "Connection: Upgrade is missing (-lenient=connection tolerates that)",
		Explanation: "RFC 6455 section 4.2.1: an old firmware, or a proxy that drops the header Connection.",
	})
	refusalWebSocketVersion = refusal(RefusalReason{
		Name: "websocket-version", Status: http.StatusUpgradeRequired, Format: "Sec-WebSocket-Version is not 13",
		Explanation: "The charger speaks a draft of WebSocket: it needs a newer firmware.",
	})
	refusalKey = refusal(RefusalReason{
		Name: "websocket-key", Status: http.StatusBadRequest, Format: "Sec-WebSocket-Key is not 16 bytes in base64 (-lenient=key tolerates that)",
		Explanation: "RFC 6455 section 4.2.1: a fault of the firmware.",
	})
	refusalNoSubprotocol = refusal(RefusalReason{
		Name: "no-subprotocol", Status: http.StatusSwitchingProtocols, Code: CodeProtocolError,
		Format:      "no subprotocol offered; OCPP needs one (-default-subprotocol helps old chargers)",
		Explanation: "OCPP-J section 3.1.2: the connection is opened and closed at once.",
	})
	refusalSubprotocol = refusal(RefusalReason{
		Name: "unknown-subprotocol", Status: http.StatusSwitchingProtocols, Code: CodeProtocolError,
		Format:      "none of the offered subprotocols is known here: %s",
		Explanation: "OCPP-J section 3.1.2: no version of OCPP is common to the charger and to subprotocols.",
	})
)

// A limit of the gateway is reached.
var (
	RefusalRate = refusal(RefusalReason{
		Name: "rate", Status: http.StatusTooManyRequests, RetryAfter: 5, Format: "too many handshakes per second",
		Explanation: "More chargers connect at once than the gateway lets in; they come back. Normal after a power cut.",
	})
	RefusalAddress = refusal(RefusalReason{
		Name: "address", Status: http.StatusTooManyRequests, RetryAfter: 5, Format: "too many handshakes from this address at the same time",
		Explanation: "max-handshakes-per-address: a scanner that opens connections and says nothing, or many chargers behind one address. List a balancer in trusted.",
	})
	RefusalConnections = refusal(RefusalReason{
		Name: "address-connections", Status: http.StatusTooManyRequests, RetryAfter: 60, Format: "too many chargers are connected from this address",
		Explanation: "max-connections-per-address: many chargers behind one address, or a stranger that plays many. List a balancer in trusted.",
	})
	RefusalFull = refusal(RefusalReason{
		Name: "full", Status: http.StatusServiceUnavailable, RetryAfter: 60, Format: "all connections are taken",
		Explanation: "max-connections chargers are connected.",
	})
	RefusalFiles = refusal(RefusalReason{
		Name: "files", Status: http.StatusServiceUnavailable, RetryAfter: 60, Format: "the gateway has no file descriptor for another connection",
		Explanation: "LimitNOFILE of the unit is too low for so many chargers. The rest is reserved for processors, operators and upgrades.",
	})
	RefusalOffline = refusal(RefusalReason{
		Name: "offline", Status: http.StatusServiceUnavailable, RetryAfter: 60, Format: "too many chargers that are not connected have left something",
		Explanation: "max-offline chargers have left messages that no processor has taken. Chargers that are known still get in.",
	})
)

// The charger may not come in.
var (
	RefusalNotAllowed = refusal(RefusalReason{
		Name: "not-allowed", Status: http.StatusForbidden, Format: "nobody may connect from this address",
		Explanation: "allow-from does not have the charger's address.",
	})
	RefusalBlocked = refusal(RefusalReason{
		Name: "blocked", Status: http.StatusForbidden, Format: "blocked by an operator: %s",
		Explanation: "holdfast block has the charger, or its address. holdfast blocks shows why and until when; holdfast unblock takes it back.",
	})
	RefusalNotTrusted = refusal(RefusalReason{
		Name: "not-trusted", Status: http.StatusForbidden, Format: "only a trusted balancer may connect to this port",
		Explanation: "The listener has proxy-protocol=required, and who connected is not in trusted: a charger that goes around the balancer, or a new balancer.",
	})
	RefusalNoPROXY = refusal(RefusalReason{
		Name: "proxy-header", Status: http.StatusBadRequest, Format: "%v",
		Explanation: "The listener has proxy-protocol=required, and the balancer sends no such header: set send-proxy-v2, or what it calls that.",
	})
	RefusalCertificate = refusal(RefusalReason{
		Name: "certificate", Status: http.StatusForbidden, Format: "%v",
		Explanation: "The charger's certificate is not that of its identity; the text says how.",
	})
	RefusalUnknownCharger = refusal(RefusalReason{
		Name: "unknown-charger", Status: http.StatusUnauthorized, Challenge: true, Format: "no charger of this identity is known here",
		Explanation: "The auth-file has no entry for the identity. The charger hears what it hears of a wrong password, or with unknown-charger 404 that.",
	})
	RefusalNoPassword = refusal(RefusalReason{
		Name: "no-password", Status: http.StatusUnauthorized, Challenge: true, Format: "a password is needed: Authorization: Basic",
		Explanation: "The charger sent no credentials: set its AuthorizationKey or BasicAuthPassword.",
	})
	RefusalUserName = refusal(RefusalReason{
		Name: "user-name", Status: http.StatusUnauthorized, Challenge: true, Format: "the user name is not the identity",
		Explanation: "OCPP makes the identity the user name; the charger sent another one.",
	})
	RefusalWrongPassword = refusal(RefusalReason{
		Name: "wrong-password", Status: http.StatusUnauthorized, Challenge: true, Format: "wrong password",
		Explanation: "The password is not that of the auth-file.",
	})
	RefusalProfile = refusal(RefusalReason{
		Name: "security-profile", Status: http.StatusForbidden, Format: "the charger has used security profile %d, and may not go back to %d",
		Explanation: "security-profiles: the charger, or somebody who has its password, comes by a less secure way than before. To let it, remove its lines from that file.",
	})
	RefusalNoProfile = refusal(RefusalReason{
		Name: "security-profile-unsaved", Status: http.StatusServiceUnavailable, RetryAfter: 60, Format: "the charger's security profile cannot be remembered: %v",
		Explanation: "The file security-profiles cannot be written: the disk is full, or the file is read-only. Chargers whose profile rises wait until it can.",
	})
	RefusalNoVerdict = refusal(RefusalReason{
		Name: "no-verdict", Status: http.StatusServiceUnavailable, RetryAfter: 30, Format: "no processor can say whether this charger may come in: %v",
		Explanation: "With auth by processor: none is connected, or none answered in time; the text says which.",
	})
	RefusalProcessor = refusal(RefusalReason{
		Name: "processor", Format: "a processor refuses this charger",
		Explanation: "A processor decided so. It chooses the status and may add a text.",
	})
)
