package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/cmd/holdfast/config"
)

func configFile(t *testing.T, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "holdfast.conf")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// check runs `holdfast check` and returns its lines of faults.
func check(t *testing.T, args ...string) (code int, faults []string) {
	t.Helper()
	var stdout, stderr strings.Builder
	code = run(append([]string{"check"}, args...), &stdout, &stderr)
	if (code == 0) != strings.Contains(stdout.String(), "valid") || (code == 0) != (stderr.Len() == 0) {
		t.Errorf("code %d, stdout %q, stderr %q", code, stdout.String(), stderr.String())
	}
	return code, strings.Split(strings.TrimSuffix(stderr.String(), "\n"), "\n")
}

// A file with one fault of every kind: all are told at once, each with its line.
func TestAllFaultsAtOnce(t *testing.T) {
	path := configFile(t,
		"# a comment",                // 1
		"listn 127.0.0.1:1",          // 2
		"loops many",                 // 3
		"loops",                      // 4
		"max-message 4MiB",           // 5
		"queue-bytes 2MiB  # small",  // 6
		"ping-interval 10s",          // 7
		"idle-timeout\t5s",           // 8
		"log-format xml",             // 9
		"compression maybe",          // 10
		"path ocpp",                  // 11
		"subprotocols ocpp1.6,,",     // 12
		"listen localhost:80",        // 13
		"window 5",                   // 14
		"window 6",                   // 15
		"close-timeout 5",            // 16
		"queue_messages 9",           // 17
		"  ",                         // 18
		"processors /tmp/x",          // 19
		"pid-file /tmp/y/../x",       // 20
		"default-subprotocol xmpp",   // 21: contradicts nothing, the list is at fault
		"max-connections 1000000000", // 22
	)
	code, faults := check(t, "-config", path, "-verbose", "-buffer-bytes", "1")
	want := []string{
		"unknown flag -verbose", "-buffer-bytes: buffer-bytes",
		":2: unknown name \"listn\"", ":3: loops \"many\"", ":4: loops has no value", ":6: queue-bytes", ":8: idle-timeout",
		":9: log-format", ":10: compression", ":11: path", ":12: subprotocols", ":13: listen", ":15: window is given more than once",
		":16: close-timeout", ":17: unknown name \"queue_messages\"; did you mean queue-messages?", ":20: pid-file", ":22: max-connections",
	}
	for _, w := range want {
		n := 0
		for _, f := range faults {
			if strings.Contains(f, w) && (!strings.HasPrefix(w, ":") || strings.Contains(f, path+w)) {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%q is told %d times", w, n)
		}
	}
	if code != 2 || len(faults) != len(want) {
		t.Errorf("code %d, %d faults, want %d:\n%s", code, len(faults), len(want), strings.Join(faults, "\n"))
	}
}

// Faults come in the order of the lines, those of the files that a line names among them.
func TestFaultsInOrder(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	chargers := file("chargers", "CP-1:md5:x\n# fine\nCP-2\n")
	path := configFile(
		t,
		"auth-file "+chargers,                // 1
		"windo 7",                            // 2
		"tls-key "+file("key", "no key\n"),   // 3
		"listen-tls :1,auth=file",            // 4
		"tls-cert "+filepath.Join(dir, "no"), // 5
		"listen-tls :1",                      // 6
		"tls-client-ca "+file("ca", "x\n"),   // 7
		"loops 0",                            // 8
	)
	code, faults := check(t, "-config", path, "-verbose")
	want := []string{
		"unknown flag -verbose", ":1: auth-file " + chargers + ":1: want", ":1: auth-file " + chargers + ":3: want",
		`:2: unknown name "windo"; did you mean window?`, ":3: tls-key: " + dir, ":5: tls-cert: open " + dir,
		":6: listen-tls :1 is given twice", ":7: tls-client-ca: " + dir, ":8: loops",
	}
	for i, w := range want {
		if i >= len(faults) || !strings.Contains(faults[i], w) {
			t.Fatalf("fault %d should be %q:\n%s", i+1, w, strings.Join(faults, "\n"))
		}
	}
	if code != 2 || len(faults) != len(want) {
		t.Errorf("code %d, %d faults, want %d:\n%s", code, len(faults), len(want), strings.Join(faults, "\n"))
	}
}

func TestFaults(t *testing.T) {
	taken := configFile(t, "listen 127.0.0.1:1", "max-message 2MiB")
	for _, tt := range []struct {
		args []string
		want string // of the only fault; "": none
	}{
		{nil, ""},
		{[]string{"-config", taken}, ""},
		{[]string{"--lenient", "--compression=off", "-window=7"}, ""},
		{[]string{"-lenient", "true", "-path", "/a/", "-path", "/b/", "-listen", ":1", "-listen", "[::1]:2"}, ""},
		{[]string{"-listen", "127.0.0.1:0", "-listen", "127.0.0.1:0"}, ""},
		{[]string{"-config", "/no/such/file"}, "/no/such/file"},
		{[]string{"-config", taken, "-config", taken}, "config is given more than once"},
		{[]string{"serve"}, `unexpected argument "serve"`},
		{[]string{"-"}, `unexpected argument "-"`},
		{[]string{"-window"}, "flag -window needs a value"},
		{[]string{"-window", "7", "-window", "7"}, "window is given more than once"},
		{[]string{"-window", "0"}, "from 1 to 65536"},
		{[]string{"-window", "-5"}, "from 1 to 65536"},
		{[]string{"-pinginterval", "5s"}, "did you mean ping-interval?"},
		{[]string{"-listen", "8887"}, "want address:port"},
		{[]string{"-listen", "127.0.0.1:99999"}, "listen"},
		{[]string{"-listen", ":1", "-listen", ":1"}, "listen :1 is given twice"},
		{[]string{"-max-message", "1MB"}, "such as 64KiB"},
		{[]string{"-max-message", "9999999999999GiB"}, "such as 64KiB"},
		{[]string{"-max-message", "-1"}, "such as 64KiB"},
		{[]string{"-max-message", "8MiB"}, "-max-message: queue-bytes (4194304) is less than max-message"},
		{[]string{"-config", taken, "-queue-bytes", "1MiB"}, "-queue-bytes: queue-bytes"},
		{[]string{"-loops", "64", "-queue-bytes", "8MiB"}, "-queue-bytes: buffer-bytes"},
		{[]string{"-write-timeout", "0s"}, "want a duration"},
		{[]string{"-ping-interval", "0s"}, ""},
		{[]string{"-idle-timeout", "20s"}, "-idle-timeout: idle-timeout (20s) must be longer than ping-interval (1m0s)"},
		{[]string{"-idle-timeout", "20s", "-ping-interval", "0s"}, ""},
		{[]string{"-default-subprotocol", "ocpp1.5"}, "-default-subprotocol: "},
		{[]string{"-subprotocols", "ocpp1.6,ocpp1.6"}, "twice"},
		{[]string{"-processors", ""}, "1 to 107 bytes"},
		{[]string{"-processors", "/" + strings.Repeat("x", 107)}, "1 to 107 bytes"},
		{[]string{"-path", "/a b/"}, "want a path"},
		{[]string{"-listen", "none"}, "no charger could connect"},
		{[]string{"-listen-tls", ":2"}, "-listen-tls: listen-tls needs a certificate"},
		{[]string{"-tls-cert", "a"}, "-tls-cert: each tls-cert has its tls-key, in the same order: there are 1 of tls-cert and 0 of tls-key"},
		{[]string{"-tls-key", "a"}, "-tls-key: each tls-cert has its tls-key, in the same order: there are 1 of tls-key and 0 of tls-cert"},
		{[]string{"-listen", ":1", "-listen-tls", ":1", "-tls-cert", "/no/cert", "-tls-key", "/no/key"}, "listen-tls :1 is given twice"},
		{[]string{"-listen", ":0", "-listen-tls", ":0", "-tls-cert", "/no/cert", "-tls-key", "/no/key"}, "listen-tls :0 is given twice"},
		{[]string{"-listen-tls", ":2", "-tls-cert", "/no/cert", "-tls-key", "/no/key"}, "tls-cert: open /no/cert: "},
		{[]string{"-listen", ":1,auth=maybe"}, "auth: want one of none, file, processor"},
		{[]string{"-listen", ":1,client-auth=required"}, `"client-auth" cannot be set for one listener`},
		{[]string{"-listen", ":1,auth=file"}, "listen :1: auth is file, but there is no auth-file"},
		{[]string{"-auth", "file", "-auth-file", "/no/file"}, "auth-file: open /no/file"},
		{[]string{"-auth", "file"}, "auth is file, but there is no auth-file"},
		{[]string{"-auth", "file", "-listen", ":1,auth=none", "-listen", ":2,auth=processor"}, ""},
		{[]string{"-security-profiles", os.DevNull}, "security-profiles needs a listener that authenticates"},
		{[]string{"-security-profiles", "/no/file", "-auth", "processor"}, "security-profiles: /no: no such file or directory (the gateway appends to this file)"},
		{[]string{"-listen-tls", ":2,client-auth=required", "-tls-client-identity", "processor", "-tls-cert", "/no/cert", "-tls-key", "/no/key", "-tls-client-ca", "/no/ca"}, "auth is none: nobody would compare"},
		{[]string{"-listen-tls", ":2,client-auth=optional", "-tls-cert", "/no/cert", "-tls-key", "/no/key"}, "listen-tls :2: client-auth is optional, but there is no tls-client-ca"},
	} {
		code, faults := check(t, tt.args...)
		only := !strings.Contains(strings.Join(tt.args, " "), "/no/cert") // two more files are at fault
		found := slices.ContainsFunc(faults, func(f string) bool { return strings.Contains(f, tt.want) })
		if tt.want == "" && code != 0 || tt.want != "" && (!found || only && len(faults) != 1) {
			t.Errorf("%q: code %d, %q; want %q", tt.args, code, faults, tt.want)
		}
	}
}

func TestFlagsWinOverFile(t *testing.T) {
	path := configFile(t, "listen 127.0.0.1:1", "listen 127.0.0.1:2", "window 5", "lenient on", "compression false", "path /a/", "\tack-timeout   90s\r")
	c, errs := config.Parse([]string{"-listen", ":3", "-config=" + path, "-window", "6", "-lenient=false"})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if len(c.Listen) != 1 || c.Listen[0].Address != ":3" || c.Window != 6 || c.Lenient != 0 || c.Compression ||
		len(c.Paths) != 1 || c.Paths[0] != "/a/" || c.AckTimeout != 90*time.Second {
		t.Errorf("%+v", c)
	}
	if c.MaxMessage != 1<<20 || c.PingInterval != time.Minute || c.IdleTimeout != 3*time.Minute || len(c.Subprotocols) != 3 || c.Subprotocols[0] != "ocpp2.1" {
		t.Errorf("defaults: %+v", c)
	}
}

func TestHelpNamesEveryOption(t *testing.T) {
	for _, args := range [][]string{{"help"}, {"serve", "-h"}, {"check", "-nonsense", "--help"}} {
		var stdout, stderr strings.Builder
		if code := run(args, &stdout, &stderr); code != 0 || stderr.Len() > 0 {
			t.Errorf("%q: code %d, %s", args, code, stderr.String())
		}
		for _, o := range append(config.Options(new(config.Config)), config.Option{Name: "config", Help: "-config"}) {
			if !strings.Contains(stdout.String(), "-"+o.Name) || !strings.Contains(stdout.String(), o.Help) {
				t.Errorf("%q does not mention -%s", args, o.Name)
			}
		}
	}
}

func TestCommands(t *testing.T) {
	for _, tt := range []struct {
		args           []string
		code           int
		stdout, stderr string
	}{
		{nil, 2, "", "usage"},
		{[]string{"version"}, 0, version, ""},
		{[]string{"srve"}, 2, "", `unknown command "srve"`},
		{[]string{"serve", "-nonsense"}, 2, "", "unknown flag -nonsense"},
	} {
		var stdout, stderr strings.Builder
		code := run(tt.args, &stdout, &stderr)
		if code != tt.code || !strings.Contains(stdout.String(), tt.stdout) || !strings.Contains(stderr.String(), tt.stderr) {
			t.Errorf("%q: %d, %q, %q", tt.args, code, stdout.String(), stderr.String())
		}
	}
}
