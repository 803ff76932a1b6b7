package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Config is what an operator can set. options says how each is spelled.
type Config struct {
	File       string
	Listen     []Listener
	ListenTLS  []Listener
	Processors string
	PIDFile    string
	Admin      string
	AdminGroup string
	Metrics    string
	LogFormat  string
	LogLevel   string
	Loops      int

	TLSCerts          []string
	TLSKeys           []string
	TLSLegacy         bool
	TLSClientCA       string
	TLSClientAuth     string
	TLSClientIdentity string
	Auth              string
	AuthFile          string
	AuthHex           bool

	Paths              []string
	Subprotocols       []string
	DefaultSubprotocol string
	Lenient            bool
	Compression        bool
	HandshakeTimeout   time.Duration
	Handshakes         int
	HandshakesPerSec   int
	MaxConnections     int

	MaxMessage    int
	WriteBuffer   int
	PingInterval  time.Duration
	IdleTimeout   time.Duration
	WriteTimeout  time.Duration
	CloseTimeout  time.Duration
	ShutdownGrace time.Duration

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
}

// Option is one name that flags and the config file share.
type Option struct {
	Name, Default, Help string
	Value               Value
}

func Options(c *Config) []Option {
	return []Option{
		{"listen", "127.0.0.1:8887", "address:port for chargers over ws, or none; may be given several times; ,auth=… after it applies to this address alone", listeners{to: &c.Listen}},
		{"listen-tls", "", "address:port for chargers over wss; may be given several times; ,auth=… and ,client-auth=… apply to this address alone", listeners{to: &c.ListenTLS, tls: true}},
		{"processors", "/run/holdfast/processors.sock", "path of the Unix socket for processors", TextValue{&c.Processors}},
		{"admin-socket", besideProcessors, "path of the Unix socket for operators' commands (mode 0600)", TextValue{&c.Admin}},
		{"admin-group", "", "group whose members may give operators' commands, too (mode 0660)", group{&c.AdminGroup}},
		{"admin", "", "address:port for /metrics, /healthz and /readyz over HTTP; it has no password, so keep it inside", address{&c.Metrics}},
		{"pid-file", "", "file to write the process id to", TextValue{&c.PIDFile}},
		{"log-format", "text", "text or json", ChoiceValue{&c.LogFormat, []string{"text", "json"}}},
		{"log-level", "info", "debug, info, warn or error", ChoiceValue{&c.LogLevel, []string{"debug", "info", "warn", "error"}}},
		{"loops", "1", "number of event loops; a charger belongs to one of them, by its identity", number{&c.Loops, 1, 64}},

		{"tls-cert", "", "file of a certificate with its chain, PEM; may be given several times, such as for ECDSA and RSA: a charger gets the first that it can use; read again when it changes", files{&c.TLSCerts}},
		{"tls-key", "", "file of the private key of a -tls-cert, PEM; in the same order", files{&c.TLSKeys}},
		{"tls-legacy", "false", "also offer the TLS_RSA suites with AES-GCM that OCPP names; they have no forward secrecy", BooleanValue{&c.TLSLegacy}},
		{"tls-client-ca", "", "file of the certificate authorities that sign chargers' certificates, PEM; read again when it changes", TextValue{&c.TLSClientCA}},
		{"tls-client-auth", "none", "whether a charger must have a certificate: none, optional or required", ChoiceValue{&c.TLSClientAuth, ClientAuths}},
		{"tls-client-identity", "cn", "which name in a charger's certificate is its identity: cn (common name), san (a subject alternative name) or any (either of them)", ChoiceValue{&c.TLSClientIdentity, []string{"cn", "san", "any"}}},
		{"auth", "none", "what decides whether a charger may connect: none (no password is asked for), file (-auth-file) or processor", ChoiceValue{&c.Auth, auths}},
		{"auth-file", "", "file of identities and hashed passwords, written by holdfast passwd; read again when it changes", TextValue{&c.AuthFile}},
		{"auth-hex", "false", "take a password and its hexadecimal form for the same", BooleanValue{&c.AuthHex}},

		{"path", "/ocpp/", "prefix of the path that chargers connect to; the identity follows it; may be given several times", paths{&c.Paths}},
		{"subprotocols", "ocpp2.1,ocpp2.0.1,ocpp1.6", "subprotocols that chargers may choose from", list{&c.Subprotocols}},
		{"default-subprotocol", "", "subprotocol of chargers that offer none; unset, they are refused", TextValue{&c.DefaultSubprotocol}},
		{"lenient", "false", "tolerate a handshake without Connection: Upgrade", BooleanValue{&c.Lenient}},
		{"compression", "true", "agree to permessage-deflate with chargers that offer it", BooleanValue{&c.Compression}},
		{"handshake-timeout", "10s", "time limit for a charger's handshake", duration{&c.HandshakeTimeout, 100 * time.Millisecond, time.Hour}},
		{"max-handshakes", "1024", "most handshakes at the same time; more wait in the listen backlog", number{&c.Handshakes, 1, 100_000}},
		{"max-handshakes-per-second", "0", "most handshakes per second; beyond it chargers get 429 with Retry-After; 0: no limit", number{&c.HandshakesPerSec, 0, 1_000_000}},
		{"max-connections", "100000", "most chargers connected; beyond it chargers get 503 with Retry-After", number{&c.MaxConnections, 1, 10_000_000}},

		{"max-message", "1MiB", "longest message of a charger, or for one", size{&c.MaxMessage, 1 << 10, 64 << 20}},
		{"write-buffer", "256KiB", "most unwritten bytes for one charger; beyond it senders get the status full", size{&c.WriteBuffer, 1 << 10, 1 << 30}},
		{"ping-interval", "60s", "time between WebSocket pings to a charger, with jitter; 0: no pings", duration{&c.PingInterval, 0, 24 * time.Hour}},
		{"idle-timeout", "3 ping intervals", "close a connection from which nothing came for so long; 0: never", autoDuration{&c.IdleTimeout}},
		{"write-timeout", "30s", "close a connection that accepted no bytes for so long", duration{&c.WriteTimeout, 100 * time.Millisecond, time.Hour}},
		{"close-timeout", "5s", "time limit for a charger to answer a Close frame", duration{&c.CloseTimeout, 100 * time.Millisecond, time.Hour}},
		{"shutdown-grace", "10s", "how long a shutdown (SIGTERM, SIGINT) may take: chargers are closed with 1012, spread over the first half; the rest is for their answers", duration{&c.ShutdownGrace, 0, time.Hour}},
		{"upgrade-timeout", "30s", "time limit for each step of an upgrade before the freeze, such as the start of the new process", duration{&c.UpgradeTimeout, 100 * time.Millisecond, time.Hour}},
		{"freeze-timeout", "3s", "time limit from the freeze until the new process is ready; beyond it the upgrade is rolled back", duration{&c.FreezeTimeout, 10 * time.Millisecond, time.Minute}},

		{"queue-messages", "256", "most unacknowledged messages of one charger; at the limit the gateway stops reading from it", number{&c.QueueMessages, 4, 1_000_000}},
		{"queue-bytes", "4MiB", "most unacknowledged bytes of one charger; at the limit the gateway stops reading from it", size{&c.QueueBytes, 4 << 10, 1 << 30}},
		{"buffer-bytes", "256MiB", "most unacknowledged bytes of all chargers, and as many again for messages half received", size{&c.BufferBytes, 64 << 10, 1 << 40}},
		{"window", "256", "most unacknowledged deliveries on a link whose processor does not ask for another number", number{&c.Window, 1, MaxWindow}},
		{"ack-timeout", "60s", "time limit for a processor to acknowledge a delivery; beyond it the processor is taken to hang, and its link is closed", duration{&c.AckTimeout, 100 * time.Millisecond, 24 * time.Hour}},
		{"max-attempts", "5", "give up a message that was first in line when so many processors died", number{&c.MaxAttempts, 1, 100}},
		{"max-links", "256", "most links of processors at the same time", number{&c.MaxLinks, 1, 10_000}},

		{"call-timeout", "30s", "time limit of a CALL that names none", duration{&c.CallTimeout, 10 * time.Millisecond, 24 * time.Hour}},
		{"max-call-timeout", "10m", "longest time limit of a CALL; longer ones are lowered to it", duration{&c.MaxCallTimeout, 10 * time.Millisecond, 24 * time.Hour}},
		{"call-queue", "16", "most CALLs to one charger at the same time: the one that it works on, and those that wait", number{&c.CallQueue, 1, 10_000}},
	}
}

// defaultOf begins the place of a value that nobody set.
const defaultOf = "default of -"

// besideProcessors is the default of -admin-socket.
const besideProcessors = "admin.sock beside processors"

// maxSocketPath is what fits a sockaddr_un, in bytes.
const maxSocketPath = 107

// MaxWindow is the most deliveries that may be in flight on a link.
const MaxWindow = 65536

// Parse reads the command line, and the file that it names. It returns
// every fault there is, each with its place.
func Parse(args []string) (*Config, []error) {
	c := new(Config)
	opts := Options(c)
	var errs []error
	given, faults := parseArgs(args, opts)
	errs = append(errs, faults...)
	for i, s := range ofName(given, "config") {
		if c.File = s.value; i > 0 {
			errs = append(errs, fmt.Errorf("%s: config is given more than once", s.where))
		}
	}
	var fromFile []setting
	if c.File != "" {
		fromFile, faults = parseFile(c.File, opts)
		errs = append(errs, faults...)
	}
	places := make(map[string]string, len(opts))
	for _, o := range opts {
		source := ofName(given, o.Name)
		if source == nil {
			source = ofName(fromFile, o.Name)
		}
		if source == nil && o.Default != "" {
			source = []setting{{name: o.Name, value: o.Default, where: defaultOf + o.Name}}
		}
		if list, ok := o.Value.(single); ok && list.single() && len(source) > 1 {
			errs = append(errs, fmt.Errorf("%s: %s is given more than once", source[1].where, o.Name))
			continue
		}
		faults := len(errs)
		for _, s := range source {
			if err := o.Value.Set(s.value); err != nil {
				errs = append(errs, fmt.Errorf("%s: %s %q: %w", s.where, o.Name, s.value, err))
			}
			if len(errs) == faults {
				places[o.Name] = s.where
			} else {
				delete(places, o.Name)
			}
		}
	}
	return c, append(errs, c.contradictions(places)...)
}

func ofName(all []setting, name string) (found []setting) {
	for _, s := range all {
		if s.name == name {
			found = append(found, s)
		}
	}
	return found
}

// contradictions are faults of values that are each valid. places says where
// those stand that are.
func (c *Config) contradictions(places map[string]string) (errs []error) {
	fault := func(a, b, format string, args ...any) {
		at, of := places[a], places[b]
		if at == "" || of == "" {
			return // one is at fault by itself
		}
		if strings.HasPrefix(at, defaultOf) {
			at = of
		}
		errs = append(errs, fmt.Errorf("%s: %w", at, fmt.Errorf(format, args...)))
	}
	if c.QueueBytes < c.MaxMessage {
		fault("queue-bytes", "max-message", "queue-bytes (%d) is less than max-message (%d): no such message could ever be queued", c.QueueBytes, c.MaxMessage)
	}
	if c.BufferBytes < c.QueueBytes*c.Loops {
		fault("buffer-bytes", "queue-bytes", "buffer-bytes (%d) is less than queue-bytes for each of %d loops (%d)", c.BufferBytes, c.Loops, c.QueueBytes*c.Loops)
	}
	if c.CallTimeout > c.MaxCallTimeout {
		fault("call-timeout", "max-call-timeout", "call-timeout (%v) is longer than max-call-timeout (%v)", c.CallTimeout, c.MaxCallTimeout)
	}
	if c.DefaultSubprotocol != "" && !slices.Contains(c.Subprotocols, c.DefaultSubprotocol) {
		fault("default-subprotocol", "subprotocols", "default-subprotocol %q is not among subprotocols (%s)", c.DefaultSubprotocol, strings.Join(c.Subprotocols, ", "))
	}
	if c.IdleTimeout == automatic {
		c.IdleTimeout = 3 * c.PingInterval // off when pings are
	}
	if c.IdleTimeout > 0 && c.PingInterval > 0 && c.IdleTimeout <= c.PingInterval {
		fault("idle-timeout", "ping-interval", "idle-timeout (%v) must be longer than ping-interval (%v): a silent charger would be closed before it is asked", c.IdleTimeout, c.PingInterval)
	}
	if c.Admin == besideProcessors {
		c.Admin = filepath.Join(filepath.Dir(c.Processors), "admin.sock")
	}
	paths := map[string]string{} // by path, who has it
	for _, p := range [][2]string{{"processors", c.Processors}, {"admin-socket", c.Admin}, {"pid-file", c.PIDFile}} {
		name, path := p[0], filepath.Clean(p[1])
		if n := len(p[1]); name != "pid-file" && (n == 0 || n > maxSocketPath) {
			fault(name, name, "the path of a Unix socket has 1 to %d bytes", maxSocketPath)
		} else if other := paths[path]; other != "" && p[1] != "" {
			fault(name, other, "%s and %s are the same path %s", name, other, path)
		}
		paths[path] = name
	}
	seen := map[string]string{}
	for _, l := range slices.Concat(c.Listen, c.ListenTLS) {
		name := l.Option()
		// Port 0 is another port each time, but one of ws would become one of
		// wss in an upgrade: listeners are known by their address.
		if other := seen[l.Address]; other != "" && (other != name || !strings.HasSuffix(l.Address, ":0")) {
			fault(name, other, "%s %s is given twice", name, l.Address)
		}
		seen[l.Address] = name
	}
	if other := seen[c.Metrics]; other != "" && !strings.HasSuffix(c.Metrics, ":0") {
		fault("admin", other, "admin and %s are the same address %s", other, c.Metrics)
	}
	c.admission(fault)
	return errs
}

// checkAddress tells what keeps s from being an address:port to listen on.
func checkAddress(s string) error {
	host, _, err := net.SplitHostPort(s)
	if err != nil {
		return errors.New("want address:port, such as 127.0.0.1:8887 or :8887")
	}
	if host != "" {
		if _, err := netip.ParseAddr(host); err != nil {
			return fmt.Errorf("%q is not an IP address", host)
		}
	}
	_, err = net.ResolveTCPAddr("tcp", s)
	return err
}
