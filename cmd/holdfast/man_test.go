package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"holdfast/cmd/holdfast/config"
)

var update = flag.Bool("update", false, "write the man pages anew (make man)")

// The man pages say what the program says: they are made of the usage and of the
// table of options, around texts that are written by hand.
func TestManPages(t *testing.T) {
	for _, page := range []struct{ name, made string }{
		{"holdfast.1", manCommands()},
		{"holdfast.conf.5", manOptions()},
	} {
		path := filepath.Join("../../deploy/man", page.name)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		const begin, end = ".\\\" made by make man: begin\n", ".\\\" made by make man: end\n"
		before, rest, ok := strings.Cut(string(b), begin)
		is, after, ok2 := strings.Cut(rest, end)
		if !ok || !ok2 {
			t.Fatalf("%s has no lines that begin and end what is made", path)
		}
		if is == page.made {
			continue
		}
		if !*update {
			t.Errorf("%s is not what the program says: run make man", path)
			continue
		}
		if err := os.WriteFile(path, []byte(before+begin+page.made+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// manCommands has a paragraph for each command, and the exit codes.
func manCommands() string {
	var b strings.Builder
	for _, c := range commands() {
		fmt.Fprintf(&b, ".TP\n.B %s\n%s.\n", roff(c.usage()), roff(upper(c.help)))
		if c.more != "" {
			fmt.Fprintf(&b, "%s", roff(c.more))
		}
		if c.options == nil || c.name == "serve" || c.name == "check" {
			continue
		}
		for _, o := range c.options(&invocation{command: &c}) {
			fmt.Fprintf(&b, ".br\n.B %s\n%s.\n", roff("-"+o.Name), roff(o.Help))
		}
	}
	b.WriteString(".SH EXIT STATUS\n")
	for _, e := range exitCodes {
		fmt.Fprintf(&b, ".TP\n.B %d\n%s.\n", e.code, roff(upper(e.text)))
	}
	return b.String()
}

// manOptions has a paragraph for each option.
func manOptions() string {
	var b strings.Builder
	for _, o := range config.Options(new(config.Config)) {
		def := o.Default
		if def == "" {
			def = "none"
		}
		fmt.Fprintf(&b, ".TP\n.BI %s \" value\"\n%s.\nDefault: %s.\n", roff(o.Name), roff(upper(o.Help)), roff(def))
	}
	return b.String()
}

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// roff is text as troff wants it.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	return regexp.MustCompile(`(?m)^([.'])`).ReplaceAllString(s, `\&$1`)
}

// docs/configuration.md has a row for every option, with its default.
func TestDocumentedOptions(t *testing.T) {
	b, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| ([^|]*) \\| ([^|]+) \\|$").FindAllStringSubmatch(string(b), -1) {
		if _, twice := rows[m[1]]; twice {
			t.Errorf("%s is there twice", m[1])
		}
		rows[m[1]] = m[2]
	}
	for _, o := range config.Options(new(config.Config)) {
		def := o.Default
		if def == "" {
			def = "none"
		}
		switch got, ok := rows[o.Name]; {
		case !ok:
			t.Errorf("docs/configuration.md has no row | `%s` | %s | why |", o.Name, def)
		case got != def:
			t.Errorf("docs/configuration.md says that the default of %s is %q; it is %q", o.Name, got, def)
		}
		delete(rows, o.Name)
	}
	for name := range rows {
		t.Errorf("docs/configuration.md has a row for %s, which is no option", name)
	}
}

// docs/operations.md says of every line of the log what it means.
func TestDocumentedLog(t *testing.T) {
	doc, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(doc), "## What the log says\n")
	table, _, _ = strings.Cut(table, "\n## ")
	var known []string // … stands for the rest
	for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(table, -1) {
		known = append(known, m[1])
	}
	files, err := filepath.Glob("*.go")
	rooms, _ := filepath.Glob("*/*.go")
	files = append(files, rooms...)
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`\blog\.(Info|Warn|Error)\("((?:[^"\\]|\\.)*)"`)
	found := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range line.FindAllStringSubmatch(string(b), -1) {
			found++
			if !slices.ContainsFunc(known, func(k string) bool {
				begin, rest := strings.CutSuffix(k, "…")
				return k == m[2] || rest && strings.HasPrefix(m[2], strings.TrimSpace(begin))
			}) {
				t.Errorf("%s logs %q, and docs/operations.md does not say what it means", file, m[2])
			}
		}
	}
	if found < 30 {
		t.Errorf("found %d lines only", found)
	}
}

// The packaged configuration is valid, and what it shows as defaults are those.
func TestPackagedConfig(t *testing.T) {
	const path = "../../deploy/holdfast.conf"
	if code, faults := check(t, "-config", path); code != 0 {
		t.Errorf("packaged configuration: %q", faults)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	opts := config.Options(new(config.Config))
	for _, m := range regexp.MustCompile(`(?m)^#([a-z-]+) (.+)$`).FindAllStringSubmatch(string(b), -1) {
		i := slices.IndexFunc(opts, func(o config.Option) bool { return o.Name == m[1] })
		if i < 0 || opts[i].Default != m[2] {
			t.Errorf("%q shows no default", m[0])
		}
	}
}
