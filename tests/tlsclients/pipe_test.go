package tlsclients

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"holdfast/tests/harness"
	"holdfast/tests/suites"
)

// pipe is a program that copies between its standard input and output and a TLS
// connection; WebSocket is spoken through it.
type pipe struct {
	t        *testing.T
	name     string
	cmd      *exec.Cmd
	in       io.WriteCloser
	out      *bufio.Reader
	stderr   *lines
	asked    int
	rekeys   []string // commands that change keys
	rekeyLog string   // what the program says when it has taken one
}

// lines is what a program has said so far.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// opensslNames are the suites as openssl and Python call them.
var opensslNames = map[uint16]string{
	tls.TLS_AES_128_GCM_SHA256:                        "TLS_AES_128_GCM_SHA256",
	tls.TLS_AES_256_GCM_SHA384:                        "TLS_AES_256_GCM_SHA384",
	tls.TLS_CHACHA20_POLY1305_SHA256:                  "TLS_CHACHA20_POLY1305_SHA256",
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256:       "ECDHE-ECDSA-AES128-GCM-SHA256",
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384:       "ECDHE-ECDSA-AES256-GCM-SHA384",
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: "ECDHE-ECDSA-CHACHA20-POLY1305",
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256:         "ECDHE-RSA-AES128-GCM-SHA256",
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384:         "ECDHE-RSA-AES256-GCM-SHA384",
	tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256:   "ECDHE-RSA-CHACHA20-POLY1305",
	tls.TLS_RSA_WITH_AES_128_GCM_SHA256:               "AES128-GCM-SHA256",
	tls.TLS_RSA_WITH_AES_256_GCM_SHA384:               "AES256-GCM-SHA384",
}

func openssl(t *testing.T, w *harness.World, s suites.Suite) *pipe {
	program := harness.Need(t, "openssl")
	// -brief prints nothing but data to the standard output, and unlike -quiet it
	// leaves the commands k and K.
	args := []string{"s_client", "-brief", "-connect", w.AddrTLS, "-CAfile", w.TLS.ServersFile, "-verify_return_error"}
	if s.Version == tls.VersionTLS13 {
		args = append(args, "-tls1_3", "-ciphersuites", opensslNames[s.ID])
	} else {
		args = append(args, "-tls1_2", "-cipher", opensslNames[s.ID])
	}
	p := through(t, w, "openssl "+s.String(), program, args...)
	if s.Version == tls.VersionTLS13 {
		p.rekeys, p.rekeyLog = []string{"k\n", "K\n"}, "KEYUPDATE"
	}
	return p
}

func gnutls(t *testing.T, w *harness.World, priority string) *pipe {
	program := harness.Need(t, "gnutls-cli")
	host, port, _ := net.SplitHostPort(w.AddrTLS)
	return through(t, w, "gnutls "+priority, program, "--x509cafile", w.TLS.ServersFile,
		"--logfile", filepath.Join(t.TempDir(), "log"), "--priority", priority, "--port", port, host)
}

func python(t *testing.T, w *harness.World, version, ciphers string) *pipe {
	program := harness.Need(t, "python3")
	host, port, _ := net.SplitHostPort(w.AddrTLS)
	script := filepath.Join(harness.TestsDir(t), "tlsclients", "bridge.py")
	return through(t, w, "Python "+version+" "+ciphers, program, script, host, port, w.TLS.ServersFile, version, ciphers)
}

// through starts a program and opens a WebSocket through it.
func through(t *testing.T, w *harness.World, name, program string, args ...string) *pipe {
	t.Helper()
	p := &pipe{t: t, name: name, cmd: exec.Command(program, args...), stderr: new(lines)}
	p.cmd.Stderr = p.stderr
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	})
	identity := strings.NewReplacer(" ", "-", ":", "-", "+", "").Replace(name)
	d := ws.Dialer{Protocols: []string{"ocpp1.6"}}
	p.within(func() error {
		_, _, err := d.Upgrade(readWriter{p.out, p.in}, &url.URL{Scheme: "wss", Host: w.AddrTLS, Path: "/ocpp/" + identity})
		return err
	})
	return p
}

// writeText sends a masked text frame in one write. No byte of it is an ASCII
// letter, as s_client takes some of those for commands where its input begins.
func writeText(w io.Writer, text string) error {
	f := ws.MaskFrameInPlaceWith(ws.NewTextFrame([]byte(text)), [4]byte{0x81, 0x92, 0xa4, 0xb8})
	b, err := ws.CompileFrame(f)
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

type readWriter struct {
	io.Reader
	io.Writer
}

// within fails the test if f does, or takes too long.
func (p *pipe) within(f func() error) {
	p.t.Helper()
	// Its end, and so that of f, comes with the program's.
	late := time.AfterFunc(harness.Deadline, func() { _ = p.cmd.Process.Kill() })
	if err := f(); err != nil || !late.Stop() {
		p.t.Fatalf("%s: %v; it says:\n%s", p.name, err, p.stderr)
	}
}

// ask has the charger ask, and expects the answer.
func (p *pipe) ask() {
	p.t.Helper()
	p.asked++
	p.within(func() error {
		rw := readWriter{p.out, p.in}
		call := fmt.Sprintf(`[2,"%d","Heartbeat",{}]`, p.asked)
		if err := writeText(rw, call); err != nil {
			return err
		}
		answer, err := wsutil.ReadServerText(rw)
		if want := fmt.Sprintf(`[3,"%d",{"currentTime":`, p.asked); err == nil && !strings.HasPrefix(string(answer), want) {
			err = fmt.Errorf("answered with %.100s", answer)
		}
		return err
	})
}

// rekey has the client change its key, and with the second of its commands the
// gateway, too.
func (p *pipe) rekey(n int) {
	p.t.Helper()
	if len(p.rekeys) == 0 {
		return
	}
	before := strings.Count(p.stderr.String(), p.rekeyLog)
	if _, err := io.WriteString(p.in, p.rekeys[n%len(p.rekeys)]); err != nil {
		p.t.Fatal(err)
	}
	// What follows must not be read with it.
	harness.Until(p.t, p.name+" to change keys", func() bool { return strings.Count(p.stderr.String(), p.rekeyLog) > before })
}

// Clients that only do TLS are held across upgrades, and across changes of keys
// before and after each; and no nonce is used twice.
func TestPipesAcrossUpgrades(t *testing.T) {
	for name, open := range map[string]func(t *testing.T, w *harness.World) []*pipe{
		"openssl": func(t *testing.T, w *harness.World) (all []*pipe) {
			for _, s := range append(suites.Legacy, suites.All...) {
				all = append(all, openssl(t, w, s))
			}
			return all
		},
		"gnutls": func(t *testing.T, w *harness.World) (all []*pipe) {
			for _, priority := range []string{
				"NORMAL:-VERS-ALL:+VERS-TLS1.2",
				"NORMAL:-VERS-ALL:+VERS-TLS1.2:-CIPHER-ALL:+CHACHA20-POLY1305",
				"NORMAL:-VERS-ALL:+VERS-TLS1.3",
				"NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM",
				"NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+CHACHA20-POLY1305",
			} {
				all = append(all, gnutls(t, w, priority))
			}
			return all
		},
		"Python": func(t *testing.T, w *harness.World) (all []*pipe) {
			return []*pipe{
				python(t, w, "TLSv1_3", ""),
				python(t, w, "TLSv1_2", ""),
				python(t, w, "TLSv1_2", "ECDHE-RSA-AES128-GCM-SHA256"),
				python(t, w, "TLSv1_2", "ECDHE-ECDSA-CHACHA20-POLY1305"),
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, tap := harness.NewTapped(t, nil, "-tls-legacy", "true")
			w.Processor("reference")
			pipes := open(t, w)
			everyone := func(do func(p *pipe)) {
				for _, p := range pipes {
					do(p)
				}
			}
			everyone((*pipe).ask)
			for n := range upgrades {
				everyone(func(p *pipe) { p.rekey(n) })
				if n%2 == 0 { // else it is the new process that is told of it
					everyone((*pipe).ask)
				}
				w.MustUpgrade()
				everyone((*pipe).ask)
				everyone(func(p *pipe) { p.rekey(n + 1) })
				everyone((*pipe).ask)
			}
			w.Untap(tap, len(pipes))
		})
	}
}
