package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// Imports point one way: docs/architecture.md says which. What is not listed is of the
// standard library.
var allowed = map[string][]string{
	"route":    {},
	"upstream": {"github.com/coder/websocket", "golang.org/x/time/rate"},
	"bridge": {
		"github.com/prometheus/client_golang/prometheus", "holdfast/proc",
		"holdfast/cmd/holdfast-bridge/route", "holdfast/cmd/holdfast-bridge/upstream",
	},
}

func TestImports(t *testing.T) {
	for pkg, may := range allowed {
		out, err := exec.Command("go", "list", "-f", `{{join .Imports "\n"}}`, "./"+pkg).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, path := range strings.Fields(string(out)) {
			if strings.Contains(strings.Split(path, "/")[0], ".") || strings.HasPrefix(path, "holdfast/") {
				if !slices.Contains(may, path) {
					t.Errorf("%s imports %s", pkg, path)
				}
			}
		}
	}
}
