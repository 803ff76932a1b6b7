package tlsclients

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/tests/harness"
)

// finding is a line of the JSON that testssl.sh writes.
type finding struct{ ID, Severity, Finding string }

// testsslTime is how long it may take; 40 s on a machine of its own.
const testsslTime = 4 * time.Minute

// testssl.sh finds no vulnerability, no version of TLS but 1.2 and 1.3, and no suite but
// those intended.
func TestTestssl(t *testing.T) {
	program := harness.Need(t, "testssl")
	harness.Need(t, "hexdump")
	if testing.Short() {
		t.Skip("takes long")
	}
	w := start(t)
	found := filepath.Join(t.TempDir(), "found.json")
	ctx, cancel := context.WithTimeout(t.Context(), testsslTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "--quiet", "--color", "0", "--warnings", "off", "--jsonfile", found,
		"--protocols", "--cipher-per-proto", "--vulnerable", w.AddrTLS)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput() // its code is the number of findings of any kind
	b, readErr := os.ReadFile(found)
	if readErr != nil {
		t.Fatalf("%v, %v\n%s", err, readErr, out)
	}
	var all []finding
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	seen := map[string]string{}
	var suites []string
	for _, f := range all {
		if f.ID == "engine_problem" { // about the openssl that testssl.sh runs
			continue
		}
		if f.Severity != "OK" && f.Severity != "INFO" {
			t.Errorf("%s %s: %s", f.Severity, f.ID, f.Finding)
		}
		seen[f.ID] = f.Finding
		if strings.HasPrefix(f.ID, "cipher-") {
			words := strings.Fields(f.Finding)
			suites = append(suites, words[len(words)-1])
		}
	}
	for id, want := range map[string]string{
		"SSLv2": "not offered", "SSLv3": "not offered", "TLS1": "not offered", "TLS1_1": "not offered",
		"TLS1_2": "offered", "TLS1_3": "offered with final",
	} {
		if seen[id] != want {
			t.Errorf("%s: %q, want %q", id, seen[id], want)
		}
	}
	for _, id := range []string{
		"heartbleed", "CCS", "ticketbleed", "ROBOT", "secure_renego", "secure_client_renego", "CRIME_TLS", "BREACH", "POODLE_SSL",
		"SWEET32", "FREAK", "DROWN", "LOGJAM", "BEAST", "LUCKY13", "RC4",
	} {
		if seen[id] == "" {
			t.Errorf("%s was not looked for", id)
		}
	}
	slices.Sort(suites)
	want := []string{
		"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256",
		"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
		"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
	}
	if !slices.Equal(suites, want) {
		t.Errorf("suites %q,\nwant %q", suites, want)
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
}
