package wss

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/gobwas/ws"

	"holdfast/tests/harness"
	"holdfast/tests/pki"
)

// The tests of docs/certification.md are in certification16_test.go and
// certification201_test.go; this file has what they share.

const certificationPage = "../../docs/certification.md"

// settings returns the settings that the page shows first.
func settings(t *testing.T) (lines [][2]string) {
	t.Helper()
	page, err := os.ReadFile(certificationPage)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(strings.Split(string(page), "```")[1], "\n") {
		if name, value, ok := strings.Cut(line, " "); ok {
			lines = append(lines, [2]string{name, strings.TrimSpace(value)})
		}
	}
	return lines
}

// bench is a gateway with the page's settings, on addresses and with files of its own.
type bench struct {
	*harness.World
	profile3 string // the address for chargers with certificates
}

const password = "0123456789abcdef0123456789ABCDEF01234567" // as long as OCPP 1.6 has it

// stations are who the gateway knows.
var stations = []string{"CS-1", "CS-2"}

// newBench starts it; change replaces settings, by name and value as on the page.
func newBench(t *testing.T, change map[string]string) *bench {
	t.Helper()
	dir := t.TempDir()
	passwords := filepath.Join(dir, "chargers")
	for _, s := range stations {
		passwd(t, password+"\n", "-file", passwords, s)
	}
	addresses := map[string]string{"0.0.0.0:80": "127.0.0.1:0", "0.0.0.0:443": "127.0.0.2:0", "0.0.0.0:8443": "127.0.0.3:0"}
	args := []string{"-trusted", "127.0.0.0/8", "-trusted-header", "none"} // wrong passwords are not slowed down
	for _, line := range settings(t) {
		name, value := line[0], line[1]
		if other, ok := change[name+" "+value]; ok {
			name, value, _ = strings.Cut(other, " ")
		}
		switch name {
		case "listen", "listen-tls":
			address, how, _ := strings.Cut(value, ",")
			if addresses[address] == "" {
				t.Fatalf("%s %s: no such address is expected", name, value)
			}
			args = append(args, "-"+name, addresses[address]+","+how)
		case "tls-cert", "tls-key":
			// The harness has two of each.
		case "tls-client-ca":
			args = append(args, "-"+name, authorityOfBench(t).file)
		case "auth-file":
			args = append(args, "-"+name, passwords)
		case "security-profiles":
			args = append(args, "-"+name, filepath.Join(dir, "security-profiles"))
		default:
			args = append(args, "-"+name, value)
		}
	}
	b := &bench{World: harness.New(t, args...)}
	listening := func(prefix string) (addr string) {
		harness.Until(t, "the gateway to listen on "+prefix, func() bool {
			for _, l := range b.Log.Lines() {
				if at := l.String("addr"); l.Msg() == "listening" && strings.HasPrefix(at, prefix) {
					addr = at
				}
			}
			return addr != ""
		})
		return addr
	}
	b.AddrTLS, b.profile3 = listening("127.0.0.2:"), listening("127.0.0.3:")
	return b
}

var benchAuthority = sync.OnceValues(func() (*pki.Authority, error) { return pki.NewAuthority("stations") })

// authorityOfBench signs the stations' certificates.
func authorityOfBench(t *testing.T) authority {
	t.Helper()
	a, err := benchAuthority()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := pki.Replace(file, a.PEM); err != nil {
		t.Fatal(err)
	}
	return authority{a, file}
}

// A try is one attempt of a station to connect.
type try struct {
	identity     string
	user         string // "": no Authorization header
	password     string
	subprotocols []string // none: ocpp1.6
}

// by returns the try of a station with its password.
func by(identity string) try { return try{identity: identity, user: identity, password: password} }

// profile1, profile2 and profile3 connect with that security profile. status is 0 if
// the TLS handshake fails; then, and with any status but 101, there is no charger.
func (b *bench) profile1tries(t *testing.T, a try) (*charger, int) {
	t.Helper()
	c, status, _ := a.upgrade(t, connect(t, b.Addr))
	return c, status
}

func (b *bench) profile2tries(t *testing.T, a try) (*charger, int) {
	t.Helper()
	config := b.TLS.Client()
	config.ServerName = "127.0.0.2"
	return a.overTLS(t, b.AddrTLS, config)
}

func (b *bench) profile3tries(t *testing.T, a try, cert tls.Certificate) (*charger, int) {
	t.Helper()
	config := b.TLS.Client()
	config.ServerName = "127.0.0.2"
	config.Certificates = []tls.Certificate{cert}
	return a.overTLS(t, b.profile3, config)
}

func (a try) overTLS(t *testing.T, addr string, config *tls.Config) (*charger, int) {
	t.Helper()
	tc := tls.Client(connect(t, addr), config)
	if err := tc.Handshake(); err != nil {
		return nil, 0
	}
	c, status, _ := a.upgrade(t, tc)
	return c, status
}

// upgrade asks for the WebSocket, and returns the subprotocol that the answer names.
func (a try) upgrade(t *testing.T, nc net.Conn) (c *charger, status int, subprotocol string) {
	t.Helper()
	c = &charger{Conn: nc, br: bufio.NewReader(nc)}
	d := ws.Dialer{Protocols: a.subprotocols}
	if d.Protocols == nil {
		d.Protocols = []string{"ocpp1.6"}
	}
	if a.user != "" {
		d.Header = ws.HandshakeHeaderHTTP{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(a.user+":"+a.password))}}
	}
	early, hs, err := d.Upgrade(struct {
		io.Reader
		io.Writer
	}{c.br, nc}, &url.URL{Scheme: "ws", Host: "gateway", Path: "/ocpp/" + a.identity})
	var refused ws.StatusError
	switch {
	case errors.As(err, &refused):
		nc.Close()
		return nil, int(refused), ""
	case err != nil: // such as a TLS 1.3 alert behind the handshake
		nc.Close()
		return nil, 0, ""
	case early != nil:
		c.br = bufio.NewReader(io.MultiReader(early, c.br))
	}
	return c, http.StatusSwitchingProtocols, hs.Protocol
}

// certificate signs one for a station.
func certificate(t *testing.T, by *pki.Authority, r pki.Request) tls.Certificate {
	t.Helper()
	p, err := by.Issue(r)
	if err != nil {
		t.Fatal(err)
	}
	return p.TLS
}

// want reports a status that is not the one of the case.
func want(t *testing.T, step string, status, expected int) {
	t.Helper()
	if status != expected {
		t.Errorf("%s: %d, want %d", step, status, expected)
	}
}

// Each test that the page names is there, and each test of a case is on the page.
func TestCertificationPage(t *testing.T) {
	page, err := os.ReadFile(certificationPage)
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for _, file := range []string{"certification16_test.go", "certification201_test.go"} {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for name, o := range f.Scope.Objects {
			if strings.HasPrefix(name, "Test") && o != nil {
				there[name] = true
			}
		}
	}
	for _, row := range regexp.MustCompile("(?m)^\\| [^|]+ \\| [^|]+ \\| `(Test\\w+)` \\|").FindAllStringSubmatch(string(page), -1) {
		if !there[row[1]] {
			t.Errorf("%s names %s, which there is not", certificationPage, row[1])
		}
		delete(there, row[1])
	}
	for name := range there {
		t.Errorf("%s does not name %s", certificationPage, name)
	}
}
