package main

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the man page anew (make man)")

// The man page says what the program says: it is made of the usage and of the options.
func TestManPage(t *testing.T) {
	const path = "../../deploy/man/holdfast-bridge.1"
	made := manPage()
	if *update {
		if err := os.WriteFile(path, []byte(made), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != made {
		t.Errorf("%s is not what the program says: run make man (%v)", path, err)
	}
}

func manPage() string {
	var b strings.Builder
	b.WriteString(`.\" made by make man of the program's usage and options
.TH HOLDFAST-BRIDGE 1
.SH NAME
holdfast-bridge \- connect chargers of holdfast(1) to a central system
.SH SYNOPSIS
.B holdfast-bridge
.RI [ options ]
.br
.B holdfast-bridge status
[\-admin
.IR PATH ]
[\-json]
.br
.B holdfast-bridge version
.SH DESCRIPTION
`)
	_, text, _ := strings.Cut(usage, "\n\n")
	b.WriteString(roff(strings.TrimSpace(text)) + "\n.PP\nA file of options (\\-config) has on each line the name of an option, white space or =, and its value; # begins a comment at the beginning of a line.\n.SH OPTIONS\n")
	var o options
	o.flags().VisitAll(func(f *flag.Flag) {
		value, help := flag.UnquoteUsage(f)
		fmt.Fprintf(&b, ".TP\n.B \\-%s", roff(f.Name))
		if value != "" {
			fmt.Fprintf(&b, " \\fI%s\\fR", roff(value))
		}
		fmt.Fprintf(&b, "\n%s.", roff(help))
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0s" {
			fmt.Fprintf(&b, " Default: %s.", roff(f.DefValue))
		}
		b.WriteString("\n")
	})
	b.WriteString(".SH FILES\n.I /etc/holdfast/bridge.conf\n.SH EXIT STATUS\n0: it was told to leave. 1: it cannot go on. 2: the options are at fault.\n.SH SEE ALSO\nholdfast(1), /usr/share/doc/holdfast\\-bridge/bridge.md\n")
	return b.String()
}

func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "\n", " ").Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}

// docs/bridge.md has a row for each option, with its default, and for no other; and for
// each metric.
func TestDocumentedOptions(t *testing.T) {
	page := read(t, "../../docs/bridge.md")
	_, table, _ := strings.Cut(page, "## Options")
	rows := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| (`[^|]*`) \\| (.*?) \\|").FindAllStringSubmatch(table, -1) {
		for _, name := range strings.Split(m[1], ", ") {
			rows[strings.Trim(name, "`")] = strings.Trim(m[2], "`")
		}
	}
	var o options
	o.flags().VisitAll(func(f *flag.Flag) {
		if slices.Contains(only, f.Name) {
			return
		}
		row, ok := rows[f.Name]
		delete(rows, f.Name)
		want := f.DefValue
		if want == "" || f.Name == "call-timeout" {
			want = "–"
		}
		if !ok || row != want {
			t.Errorf("option %s: the default in the page is %q, want %q", f.Name, row, want)
		}
	})
	for name := range rows {
		t.Errorf("the page has an option %s, and the program has none", name)
	}
	for _, m := range regexp.MustCompile(`(?:counter|vector)\("([a-z_]+)"`).FindAllStringSubmatch(read(t, "bridge/metrics.go"), -1) {
		if !strings.Contains(page, "`holdfast_bridge_"+m[1]+"`") {
			t.Errorf("the page has no metric holdfast_bridge_%s", m[1])
		}
	}
}

// What the package installs parses, once it has a route; without one it says so.
func TestInstalledConfiguration(t *testing.T) {
	const installed = "../../deploy/bridge.conf"
	if _, err := parse([]string{"-config", installed}); err == nil || !strings.Contains(err.Error(), "no route") {
		t.Error(err)
	}
	route := regexp.MustCompile(`(?m)^#(route .*)$`).FindStringSubmatch(read(t, installed))
	if route == nil {
		t.Fatal("no route is shown")
	}
	_, value, _ := strings.Cut(route[1], " ")
	if o, err := parse([]string{"-config", installed, "-route", value}); err != nil || o.admin != "/run/holdfast-bridge/admin.sock" {
		t.Errorf("%+v, %v", o, err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
