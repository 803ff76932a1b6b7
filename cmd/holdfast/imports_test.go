package main

import (
	"bytes"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// Imports point one way: docs/architecture.md says which.
var allowed = map[string][]string{
	"holdfast/conn":              {"golang.org/x/sys", "holdfast/conn/record", "holdfast/unixipc/tlv", "holdfast/unixipc/journal"},
	"holdfast/conn/record":       {"golang.org/x/crypto", "holdfast/unixipc/tlv"},
	"holdfast/unixipc":           {"golang.org/x/sys", "golang.org/x/crypto"},
	"holdfast/unixipc/tlv":       {},
	"holdfast/unixipc/handoff":   {"holdfast/unixipc"},
	"holdfast/unixipc/journal":   {"golang.org/x/sys"},
	"holdfast/unixipc/keep":      {"golang.org/x/sys", "holdfast/unixipc"},
	"holdfast/cmd/holdfast/item": {},
	"holdfast/cmd/holdfast/keeping": {
		"holdfast/cmd/holdfast/admin", "holdfast/cmd/holdfast/credentials", "holdfast/cmd/holdfast/gate", "holdfast/cmd/holdfast/metrics",
		"holdfast/cmd/holdfast/shard", "holdfast/cmd/holdfast/upgrade", "holdfast/unixipc/journal", "holdfast/unixipc/keep",
		"golang.org/x/sys",
	},
	"holdfast/cmd/holdfast/keeper":      {"golang.org/x/sys", "holdfast/unixipc/keep"},
	"holdfast/relay":                    {"holdfast/unixipc", "holdfast/unixipc/tlv"},
	"holdfast/proc":                     {"holdfast/unixipc"},
	"holdfast/proc/proctest":            {"holdfast/unixipc"},
	"holdfast/proc/ocppj":               {},
	"holdfast/cmd/processor":            {"holdfast/proc", "holdfast/unixipc"},
	"holdfast/cmd/holdfast/config":      {"holdfast/conn"},
	"holdfast/cmd/holdfast/gate":        {},
	"holdfast/cmd/holdfast/addresses":   {},
	"holdfast/cmd/holdfast/logging":     {},
	"holdfast/cmd/holdfast/forwarded":   {},
	"holdfast/cmd/holdfast/admin":       {"holdfast/cmd/holdfast/config", "holdfast/cmd/holdfast/gate", "holdfast/unixipc"},
	"holdfast/cmd/holdfast/systemd":     {"golang.org/x/sys"},
	"holdfast/cmd/holdfast/credentials": {"golang.org/x/sys", "holdfast/cmd/holdfast/config", "holdfast/conn", "holdfast/conn/record"},
	"holdfast/cmd/holdfast/metrics":     {"github.com/prometheus/client_golang", "holdfast/conn", "holdfast/unixipc", "holdfast/unixipc/tlv"},
	"holdfast/cmd/holdfast/shard": {
		"holdfast/cmd/holdfast/addresses",
		"holdfast/cmd/holdfast/admin", "holdfast/cmd/holdfast/config", "holdfast/cmd/holdfast/metrics",
		"holdfast/cmd/holdfast/item", "holdfast/unixipc/journal", "holdfast/unixipc/keep",
		"holdfast/conn", "holdfast/relay", "holdfast/unixipc",
		"golang.org/x/sys",
	},
	"holdfast/cmd/holdfast/upgrade": {
		"holdfast/cmd/holdfast/admin", "holdfast/cmd/holdfast/config", "holdfast/cmd/holdfast/credentials", "holdfast/cmd/holdfast/gate",
		"holdfast/cmd/holdfast/metrics", "holdfast/cmd/holdfast/shard", "holdfast/cmd/holdfast/systemd",
		"holdfast/conn", "holdfast/relay", "holdfast/unixipc", "holdfast/unixipc/handoff",
		"holdfast/cmd/holdfast/item", "holdfast/unixipc/journal", "holdfast/unixipc/keep",
		"github.com/cloudflare/tableflip", "golang.org/x/sys",
	},
	"holdfast/cmd/holdfast/gateway": {
		"holdfast/cmd/holdfast/addresses", "holdfast/cmd/holdfast/forwarded", "holdfast/cmd/holdfast/logging",
		"holdfast/cmd/holdfast/admin", "holdfast/cmd/holdfast/config", "holdfast/cmd/holdfast/credentials", "holdfast/cmd/holdfast/gate",
		"holdfast/cmd/holdfast/metrics", "holdfast/cmd/holdfast/shard", "holdfast/cmd/holdfast/systemd", "holdfast/cmd/holdfast/upgrade",
		"holdfast/cmd/holdfast/keeping",
		"holdfast/conn", "holdfast/conn/record", "holdfast/relay", "holdfast/unixipc",
		"github.com/cloudflare/tableflip",
	},
	// The command line: it asks a running gateway, or is one.
	"holdfast/cmd/holdfast": {
		"holdfast/cmd/holdfast/admin", "holdfast/cmd/holdfast/config", "holdfast/cmd/holdfast/credentials", "holdfast/cmd/holdfast/gateway",
		"holdfast/cmd/holdfast/keeper", "holdfast/cmd/holdfast/logging",
		"holdfast/conn", "holdfast/proc",
		"golang.org/x/sys",
	},
}

func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}}:{{join .Imports " "}}`, "holdfast/...").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		pkg, imports, _ := strings.Cut(strings.TrimSpace(line), ":")
		may, known := allowed[pkg]
		if !known && imports != "" {
			t.Errorf("%s has no rule here: which packages may it import?", pkg)
		}
		for imported := range strings.FieldsSeq(imports) {
			if !strings.Contains(imported, ".") && !strings.HasPrefix(imported, "holdfast/") {
				continue // the standard library
			}
			if !slices.ContainsFunc(may, func(a string) bool {
				return imported == a || strings.HasPrefix(imported, a+"/") && !strings.HasPrefix(a, "holdfast/")
			}) {
				t.Errorf("%s imports %s; it may import only %v", pkg, imported, may)
			}
		}
	}
}

// maxLines of code that is no test are in a package at most: what is larger has two
// subjects.
const maxLines = 2500

func TestPackagesAreSmall(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{$d := .Dir}}{{.ImportPath}}:{{range .GoFiles}}{{$d}}/{{.}} {{end}}`, "holdfast/cmd/holdfast/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		pkg, files, _ := strings.Cut(strings.TrimSpace(line), ":")
		lines := 0
		for _, name := range strings.Fields(files) {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			lines += bytes.Count(b, []byte("\n"))
		}
		t.Logf("%5d %s", lines, pkg)
		if lines > maxLines {
			t.Errorf("%s has %d lines, more than %d", pkg, lines, maxLines)
		}
	}
}
