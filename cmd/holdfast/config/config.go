package config

import (
	"net/http"
	"net/netip"
	"time"

	"holdfast/conn"
)

// Config is what an operator can set. Options has the name of each field, its default
// and its limits.
type Config struct {
	File       string
	Listen     []Listener
	ListenTLS  []Listener
	Processors string
	PIDFile    string
	Admin      string
	AdminGroup string
	Keeper     string
	Metrics    string
	LogFormat  string
	LogLevel   string
	LogBurst   int
	Loops      int

	TLSCerts          []string
	TLSKeys           []string
	TLSLegacy         bool
	TLSClientCA       string
	TLSClientAuth     string
	TLSClientIdentity string
	TLSRecordSize     int // bytes
	SecurityProfiles  string
	Blocks            string
	Auth              string
	AuthFile          string
	AuthHex           bool
	Unknown           string // see UnknownCharger

	Paths              []string
	Subprotocols       []string
	DefaultSubprotocol string
	Lenient            conn.Tolerances
	Compression        bool
	HandshakeTimeout   time.Duration
	MaxRequest         int // bytes
	HandshakesPerAddr  int
	ConnectionsPerAddr int
	Trusted            []netip.Prefix
	TrustedHeader      string
	AllowFrom          []netip.Prefix
	Handshakes         int
	HandshakesPerSec   int
	MaxConnections     int
	MaxOffline         int

	MaxMessage    int
	WriteBuffer   int
	PingInterval  time.Duration
	IdleTimeout   time.Duration
	WriteTimeout  time.Duration
	CloseTimeout  time.Duration
	ShutdownGrace time.Duration
	ShutdownClose string // a close code, or ShutdownDrop

	UpgradeTimeout time.Duration
	FreezeTimeout  time.Duration

	QueueMessages int
	QueueBytes    int
	BufferBytes   int
	Window        int
	AckTimeout    time.Duration
	MaxAttempts   int
	MaxLinks      int

	CallTimeout    time.Duration
	MaxCallTimeout time.Duration
	CallQueue      int

	places map[string][]place // of the values of each option that has no fault
}

// UnknownCharger is the HTTP status for a charger that the auth-file does not name.
func (c *Config) UnknownCharger() int {
	if c.Unknown == "404" {
		return http.StatusNotFound
	}
	return http.StatusUnauthorized
}
