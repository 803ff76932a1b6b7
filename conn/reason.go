package conn

import "fmt"

// Reason is one cause for which a connection ends. All that this package gives
// are in Reasons. A processor or an operator that closes a connection supplies
// code and text itself; those are no Reasons.
type Reason struct {
	Name        string // stable, short
	Code        int    // 0: as received from the charger
	By          By
	Format      string // of the text that is sent and logged, for fmt.Sprintf
	Explanation string // for operators, one line
}

// Close returns the Close for r. args fill r.Format.
func (r *Reason) Close(args ...any) Close {
	text := r.Format
	if len(args) > 0 {
		text = fmt.Sprintf(r.Format, args...)
	}
	return Close{Code: r.Code, Reason: text, By: r.By}
}

// fault is Close for decoders, which return nil if all is well.
func (r *Reason) fault() *Close {
	c := r.Close()
	return &c
}

// Reasons lists every Reason, in the order of docs/operations.md.
var Reasons []*Reason

func reason(name string, code int, by By, format, explanation string) *Reason {
	r := &Reason{name, code, by, format, explanation}
	Reasons = append(Reasons, r)
	return r
}

// Ends that belong to normal operation. The user of the loop passes the
// exported ones to Conn.Close and Conn.Drop.
var (
	reasonPeerClose = reason("close-frame", 0, ByCharger, "%s",
		"The charger closed the connection; code and text are its own (1005: it sent none).")
	reasonEndOfStream = reason("end-of-stream", CodeAbnormal, ByCharger, "connection ended without a close frame",
		"The charger, or a proxy before it, ended TCP or TLS without the close handshake: a reboot, or a careless firmware.")
	ReasonReplaced = reason("replaced", CodePolicy, ByGateway, "replaced by a new connection of the same identity",
		"The charger connected again before its former connection was noticed to be dead. If it recurs, two chargers share an identity.")
	ReasonBlocked = reason("blocked", CodePolicy, ByOperator, "blocked",
		"An operator has blocked the charger, or its address: holdfast blocks shows why and until when.")
	ReasonShutdown = reason("shutdown", CodeRestart, ByOperator, "the gateway is shutting down",
		"The gateway was stopped or restarted, not upgraded.")
)

// Ends of a connection that no longer works.
var (
	reasonIdle = reason("idle", CodeAbnormal, ByNetwork, "nothing received for %v",
		"Neither a message nor a pong arrived within idle-timeout: the charger is off, or the network is down. A charger that answers no pings needs a heartbeat interval below idle-timeout.")
	reasonReadFailed = reason("read-failed", CodeAbnormal, ByNetwork, "%v",
		"The kernel reported an error while reading, such as a reset; the text is that error.")
	reasonWriteFailed = reason("write-failed", CodeAbnormal, ByNetwork, "%v",
		"The kernel reported an error while writing the last bytes of a connection; the text is that error.")
	reasonNotReading = reason("not-reading", CodeAbnormal, ByGateway, "charger did not read for %v",
		"The charger took no bytes from its socket within write-timeout: it hangs, or its link is too slow.")
	reasonCloseTimeout = reason("close-timeout", CodeAbnormal, ByGateway, "charger did not answer the close handshake in %v",
		"The gateway sent a Close frame, and the charger did not answer it in time.")
	reasonNoMemory = reason("no-memory", CodeTryLater, ByGateway, "no memory for partial messages",
		"Incomplete messages of all chargers took all memory that is set aside for them, for longer than write-timeout.")
	reasonWatchFailed = reason("watch-failed", CodeAbnormal, ByGateway, "%v",
		"The kernel refused to watch the socket (epoll): mostly no memory on the machine; the text is its error.")
	// ReasonPoison and ReasonCrash end connections after a crash, in the process that goes on.
	ReasonPoison = reason("poison-input", CodeInternal, ByGateway, "the gateway has died again and again of what came here",
		"With a keeper: three processes of the gateway in a row have died while they handled what this charger had sent. Report it, with the log of the crash.")
	ReasonCrash = reason("state-lost", CodeInternal, ByGateway, "the state of the connection was lost in a crash",
		"With a keeper: the gateway has died, and what it had written down of this connection is not to be used.")
)

// Violations of TLS.
var (
	reasonTLSAlert = reason("tls-alert", CodeAbnormal, ByCharger, "%v",
		"The charger ended TLS with an alert, which the text names.")
	reasonTLSViolation = reason("tls-violation", CodeAbnormal, ByGateway, "%v",
		"The charger sent TLS records that are wrong or were changed on the way; the text says how, and names the alert that was sent.")
)

// Violations of RFC 6455 and RFC 7692: faults of the charger's firmware, or of
// a proxy before it.
var (
	reasonReservedBit = reason("reserved-bit", CodeProtocolError, ByGateway, "reserved bit set in frame header",
		"RFC 6455 section 5.2: RSV2 or RSV3 is set, though no extension defines them.")
	reasonUnknownOpcode = reason("unknown-opcode", CodeProtocolError, ByGateway, "unknown opcode",
		"RFC 6455 section 5.2: a frame of a reserved type.")
	reasonNotMasked = reason("not-masked", CodeProtocolError, ByGateway, "frame from client is not masked",
		"RFC 6455 section 5.1: a client must mask its frames.")
	reasonFrameLength = reason("frame-length", CodeProtocolError, ByGateway, "frame length has its top bit set",
		"RFC 6455 section 5.2: a length of 64 bits must leave the first one clear.")
	reasonFragmentedControl = reason("fragmented-control", CodeProtocolError, ByGateway, "fragmented control frame",
		"RFC 6455 section 5.5: a ping, pong or Close frame must not be fragmented.")
	reasonLongControl = reason("long-control", CodeProtocolError, ByGateway, "control frame over 125 bytes",
		"RFC 6455 section 5.5: the limit for a ping, pong or Close frame.")
	reasonCompressedControl = reason("compressed-control", CodeProtocolError, ByGateway, "compressed control frame",
		"RFC 7692 section 6.1: only messages may be compressed.")
	reasonStrayContinuation = reason("stray-continuation", CodeProtocolError, ByGateway, "continuation frame without a message",
		"RFC 6455 section 5.4: there is no fragmented message that the frame could continue.")
	reasonInterleaved = reason("interleaved-message", CodeProtocolError, ByGateway, "new message inside a fragmented one",
		"RFC 6455 section 5.4: fragments of two messages must not be interleaved.")
	reasonCompressedFrame = reason("compressed-frame", CodeProtocolError, ByGateway, "compressed frame where none may be",
		"RFC 7692 section 6.1: compression was not negotiated, or the frame is not the first of its message.")
	reasonCloseFrameSize = reason("close-frame-size", CodeProtocolError, ByGateway, "close frame of one byte",
		"RFC 6455 section 5.5.1: a close code has two bytes.")
	reasonCloseFrameCode = reason("close-frame-code", CodeProtocolError, ByCharger, "close frame with code %d, which may not be sent",
		"RFC 6455 section 7.4: the charger closed the connection with a code that is reserved or out of range. It gets 1002.")
	reasonCloseFrameText = reason("close-frame-text", CodeInvalidData, ByGateway, "close reason is not UTF-8",
		"RFC 6455 section 5.5.1: the text of a Close frame is UTF-8.")
	reasonNotUTF8 = reason("not-utf8", CodeInvalidData, ByGateway, "text is not UTF-8",
		"RFC 6455 section 8.1: mostly a firmware that sends Latin-1.")
	reasonCutUTF8 = reason("cut-utf8", CodeInvalidData, ByGateway, "text ends inside a UTF-8 sequence",
		"RFC 6455 section 8.1: mostly a firmware that truncates a text by bytes.")
	reasonNotInflatable = reason("not-inflatable", CodeInvalidData, ByGateway, "compressed message cannot be inflated",
		"RFC 7692 section 7.2.2: the message is not valid DEFLATE data.")
	reasonTooBig = reason("too-big", CodeTooBig, ByGateway, "message over the limit",
		"The message is larger than max-message.")
	reasonInflatedTooBig = reason("inflated-too-big", CodeTooBig, ByGateway, "message over the limit once inflated",
		"The compressed message is within max-message, but its content is larger.")
)
