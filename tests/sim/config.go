package sim

import (
	"cmp"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"syscall"
	"time"

	"holdfast/tests/suites"
)

// Config says what to simulate. The zero value of every field but URLs is usable.
type Config struct {
	// URLs of gateways, ws:// or wss://, without the identity; chargers take
	// them in turn. "ws://127.0.0.1:8080/ocpp"
	URLs []string
	// Chargers is how many; 0: 1.
	Chargers int
	// Prefix of each identity, which ends in the charger's number; "": "SIM-".
	Prefix string
	// Subprotocols, taken in turn, one for each charger; nil: ocpp1.6, ocpp2.0.1.
	Subprotocols []string
	// Rate of CALLs of all chargers together, per second; 0: hold only. Each has its
	// share, also while others are not connected yet.
	Rate float64
	// Outstanding CALLs that a charger may have; 0: 1, what OCPP-J allows. More
	// shows faults of order that one hides.
	Outstanding int
	// Duration of the load after the last charger connected; 0: until ctx ends.
	Duration time.Duration
	// Ramp is how many connections are opened per second; 0: 1000.
	Ramp float64
	// Deadline after which an unanswered CALL is lost; 0: 30 s.
	Deadline time.Duration
	// CallDelay is how long a charger takes to answer a CALL; 0: it does so at once.
	CallDelay time.Duration
	// Ping is the interval of each charger's WebSocket pings; 0: none.
	Ping time.Duration
	// Sources is from how many addresses, 127.0.0.1 and up, to connect to a
	// gateway on loopback; 0: one for each 10,000 chargers.
	Sources int
	// TLS configures wss; nil: the defaults of crypto/tls.
	TLS *tls.Config
	// Suites of wss; chargers at the same URL take them in turn; nil: what
	// crypto/tls chooses.
	Suites []suites.Suite
	// Progress receives a line of counters each ProgressEvery (0: 5 s); nil: none.
	Progress      io.Writer
	ProgressEvery time.Duration
	// ProgressLive rewrites one line, for a terminal.
	ProgressLive bool
}

const (
	// handshakeTimeout bounds dialling, TLS and the HTTP upgrade together.
	handshakeTimeout = 30 * time.Second
	// maxDialing is how many handshakes are under way at once.
	maxDialing = 128
	// closeTimeout bounds the wait for the echoes of the close frames at the end.
	closeTimeout = 5 * time.Second
	// maxMessage is the longest message a charger takes, in bytes.
	maxMessage = 1 << 20
	// reservedFiles is what a process needs beside its connections.
	reservedFiles = 64
)

func (c Config) withDefaults() Config {
	c.Chargers = cmp.Or(c.Chargers, 1)
	c.Prefix = cmp.Or(c.Prefix, "SIM-")
	if len(c.Subprotocols) == 0 {
		c.Subprotocols = []string{"ocpp1.6", "ocpp2.0.1"}
	}
	c.Outstanding = cmp.Or(c.Outstanding, 1)
	c.Ramp = cmp.Or(c.Ramp, 1000)
	c.Deadline = cmp.Or(c.Deadline, 30*time.Second)
	c.Sources = cmp.Or(c.Sources, 1+c.Chargers/10000)
	c.ProgressEvery = cmp.Or(c.ProgressEvery, 5*time.Second)
	return c
}

func (c Config) check() error {
	if len(c.URLs) == 0 {
		return errors.New("no URL of a gateway")
	}
	for _, u := range c.URLs {
		parsed, err := url.Parse(u)
		if err != nil {
			return err
		}
		if parsed.Scheme != "ws" && parsed.Scheme != "wss" {
			return fmt.Errorf("URL %q is neither ws:// nor wss://", u)
		}
		if c.Sources > 1 && !onLoopback(parsed) {
			return fmt.Errorf("%d source addresses need a gateway on loopback, not %q", c.Sources, u)
		}
	}
	for _, s := range c.Subprotocols {
		if _, err := lifeFor(s); err != nil {
			return err
		}
	}
	switch {
	case c.Chargers < 0, c.Rate < 0, c.Outstanding < 0, c.Ramp < 0, c.Duration < 0, c.Deadline < 0, c.Ping < 0:
		return errors.New("a negative number in the configuration")
	case c.Sources > 200:
		return fmt.Errorf("%d source addresses, at most 200", c.Sources)
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("reading the file limit: %w", err)
	}
	if uint64(c.Chargers)+reservedFiles > limit.Cur {
		return fmt.Errorf("%d chargers need more files than this process may open (%d)", c.Chargers, limit.Cur)
	}
	return nil
}

func onLoopback(u *url.URL) bool {
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback() && ip.To4() != nil
}

// endpoint is the URL of one charger.
func (c Config) endpoint(charger int) string {
	base := c.URLs[charger%len(c.URLs)]
	return strings.TrimSuffix(base, "/") + "/" + url.PathEscape(c.identity(charger))
}

func (c Config) suite(charger int) suites.Suite {
	return c.Suites[charger/len(c.URLs)%len(c.Suites)]
}

func (c Config) identity(charger int) string {
	return fmt.Sprintf("%s%05d", c.Prefix, charger)
}

// newRunID tells the messages of this run from those of any other.
func newRunID() string {
	var b [4]byte
	rand.Read(b[:]) // never fails, see crypto/rand
	return hex.EncodeToString(b[:])
}
