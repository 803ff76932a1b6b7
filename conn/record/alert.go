package record

import (
	"crypto/tls"
	"errors"
	"fmt"
)

// Alerts of RFC 8446 section 6 that a record layer sends or must know.
const (
	alertCloseNotify       = 0
	alertUnexpectedMessage = 10
	alertBadRecordMAC      = 20
	alertRecordOverflow    = 22
	alertIllegalParameter  = 47
	alertDecodeError       = 50
	alertProtocolVersion   = 70
	alertInternalError     = 80
	alertUserCanceled      = 90
	alertNoRenegotiation   = 100
)

const (
	levelWarning = 1
	levelFatal   = 2
)

// ErrCloseNotify is the orderly end: the peer sends nothing any more.
var ErrCloseNotify = errors.New("TLS: close_notify")

// A ViolationError is what the peer did wrong. The caller sends the alert that
// AppendAlert makes of it; then the connection is over.
type ViolationError struct {
	Alert uint8 // RFC 8446 section 6
	Why   string
}

func (e *ViolationError) Error() string {
	return fmt.Sprintf("TLS: %s (%s)", e.Why, alertName(e.Alert))
}

// An AlertError is a fatal alert that the peer sent: the connection is over.
type AlertError uint8

func (e AlertError) Error() string {
	switch e {
	case 42, 43, 44, 45, 46, 48: // about a certificate: RFC 8446 section 6.2
		return "TLS: the charger does not trust the certificate: " + alertName(uint8(e))
	}
	return "TLS: the charger sent the alert " + alertName(uint8(e))
}

func alertName(a uint8) string { return tls.AlertError(a).Error()[len("tls: "):] }

func violation(alert uint8, format string, args ...any) error {
	return &ViolationError{alert, fmt.Sprintf(format, args...)}
}
