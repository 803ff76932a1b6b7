package config

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func writeFile(t *testing.T, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "holdfast.conf")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// The only fault, or "" if there is none.
func onlyFault(t *testing.T, errs []error) string {
	t.Helper()
	if len(errs) > 1 {
		t.Errorf("%d faults: %v", len(errs), Faults(errs))
	}
	return Faults(errs).Error()
}

// Nobody has to set anything: defaults are valid, and those that follow from other
// options follow.
func TestDefaults(t *testing.T) {
	c, errs := Parse(nil)
	if len(errs) > 0 {
		t.Fatal(Faults(errs))
	}
	if want := (Listener{Address: "127.0.0.1:8887", Auth: "none", ClientAuth: "none"}); len(c.Listen) != 1 || !reflect.DeepEqual(c.Listen[0], want) {
		t.Errorf("listen is %+v, want %+v", c.Listen, want)
	}
	if len(c.ListenTLS) > 0 {
		t.Errorf("listen-tls is %+v", c.ListenTLS)
	}
	if c.Admin != "/run/holdfast/admin.sock" || c.IdleTimeout != 3*c.PingInterval {
		t.Errorf("admin-socket %s, idle-timeout %v, ping-interval %v", c.Admin, c.IdleTimeout, c.PingInterval)
	}
	if c, errs = Parse([]string{"-processors", "/x/y.sock", "-ping-interval", "0s", "-auth", "processor", "-listen", ":1", "-listen", ":2,auth=none"}); len(errs) > 0 {
		t.Fatal(Faults(errs))
	}
	if c.Admin != "/x/admin.sock" || c.IdleTimeout != 0 || c.Listen[0].Auth != "processor" || c.Listen[1].Auth != "none" {
		t.Errorf("%+v", c)
	}
}

// Each option is set once by its table, under a name of its own.
func TestOptions(t *testing.T) {
	seen := map[string]bool{}
	for _, o := range Options(new(Config)) {
		if seen[o.Name] || o.Help == "" || o.Value == nil {
			t.Errorf("%q is there twice, or lacks its help or its value", o.Name)
		}
		seen[o.Name] = true
	}
}

// The same words are flags and lines of the file; a flag wins.
func TestPlaces(t *testing.T) {
	path := writeFile(t,
		"# a comment",
		"window 5 # another",
		"\tack-timeout\t 90s\r",
		"",
		"path /a/", "path /b/",
		"pid-file /x#y")
	c, errs := Parse([]string{"-window=6", "--config", path})
	if len(errs) > 0 {
		t.Fatal(Faults(errs))
	}
	if c.File != path || c.Window != 6 || c.AckTimeout != 90*time.Second || !slices.Equal(c.Paths, []string{"/a/", "/b/"}) || c.PIDFile != "/x#y" {
		t.Errorf("%+v", c)
	}
	for _, tt := range []struct {
		lines []string
		want  string
	}{
		{[]string{"", "window many"}, path + ":2: window \"many\": want a number"},
		{[]string{"window 1", "window 2"}, path + ":2: window is given more than once"},
		{[]string{"", "", "max-message 8MiB"}, path + ":3: queue-bytes (4194304) is less than max-message"},
		{[]string{"window"}, path + ":1: window has no value"},
		{[]string{"config /x"}, path + `:1: unknown name "config"`},
	} {
		if err := os.WriteFile(path, []byte(strings.Join(tt.lines, "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
		_, errs := Parse([]string{"-config", path})
		if got := onlyFault(t, errs); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%q: %s; want %s", tt.lines, got, tt.want)
		}
	}
}

func TestSuggestions(t *testing.T) {
	for name, want := range map[string]string{
		"pinginterval":   "ping-interval",
		"queue_messages": "queue-messages",
		"max-conn":       "max-connections",
		"windows":        "window",
		"pign-interval":  "ping-interval",
		"max-conections": "max-connections",
		"MaxMessage":     "max-message",
		"idletimeot":     "idle-timeout",
		"listn":          "listen",
		"queue-limit":    "",
		"xyz":            "",
		"a":              "",
	} {
		got := onlyFault(t, second(Parse([]string{"-" + name, "1"})))
		if ended := strings.HasSuffix(got, "did you mean "+want+"?"); want != "" && !ended || want == "" && strings.Contains(got, "did you mean") {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func second[A, B any](_ A, b B) B { return b }

// A command's options and arguments come in any order.
func TestParseCommand(t *testing.T) {
	type given struct {
		json    bool
		code    int
		reason  string
		timeout time.Duration
	}
	options := func(g *given) []Option {
		return []Option{
			Define("json", "false", "", Boolean(&g.json)),
			Define("code", "1000", "", Number(&g.code, 1000, 4999)),
			Define("reason", "", "", Text(&g.reason)),
			Define("timeout", "30s", "", Duration(&g.timeout, time.Millisecond, time.Hour)),
		}
	}
	defaults := given{code: 1000, timeout: 30 * time.Second}
	with := func(change func(*given)) given {
		g := defaults
		change(&g)
		return g
	}
	for _, tt := range []struct {
		raw   string
		args  []string
		want  given
		fault string
	}{
		{"", nil, defaults, ""},
		{"CP-1", []string{"CP-1"}, defaults, ""},
		{"-json CP-1", []string{"CP-1"}, with(func(g *given) { g.json = true }), ""},
		{"CP-1 --json=false -code 3000", []string{"CP-1"}, with(func(g *given) { g.code = 3000 }), ""},
		{"-reason -code CP-1", []string{"CP-1"}, with(func(g *given) { g.reason = "-code" }), ""},
		{"-timeout=1s a -- -json b", []string{"a", "-json", "b"}, with(func(g *given) { g.timeout = time.Second }), ""},
		{"a -", []string{"a", "-"}, defaults, ""},
		{"-code 5", nil, defaults, `-code "5": want a number from 1000 to 4999`},
		{"-code", nil, defaults, "flag -code needs a value"},
		{"-nonsense", nil, defaults, "unknown flag -nonsense"},
	} {
		var got given
		args, errs := ParseCommand(strings.Fields(tt.raw), options(&got))
		if fault := onlyFault(t, errs); fault != tt.fault {
			t.Errorf("%q: %q, want %q", tt.raw, fault, tt.fault)
		}
		if tt.fault == "" && (got != tt.want || !slices.Equal(args, tt.args)) {
			t.Errorf("%q: %+v and %q, want %+v and %q", tt.raw, got, args, tt.want, tt.args)
		}
	}
}

// Whatever a file holds, it is read, or its faults name their lines.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", "window 5\n", "listen :1,auth=file # x\nloops", "\x00", "path /\npath /a\n", "buffer-bytes 9999999999999GiB"} {
		f.Add(seed)
	}
	path := filepath.Join(f.TempDir(), "fuzz.conf")
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, errs := Parse([]string{"-config", path})
		for _, err := range errs {
			if !strings.HasPrefix(err.Error(), path+":") {
				t.Errorf("%q: %v", text, err)
			}
		}
	})
}
