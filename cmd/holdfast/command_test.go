package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestCommandLines(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"", exitUsage, "usage:"},
		{"help", 0, "exit codes:"},
		{"--version", 0, "holdfast "},
		{"nope", exitUsage, `unknown command "nope"`},
		{"list a b", exitUsage, "usage: holdfast list [options] [GLOB]"},
		{"list -jsn", exitUsage, "unknown flag -jsn"},
		{"call CP1", exitUsage, "usage: holdfast call [options] ID|GLOB ACTION [PAYLOAD]"},
		{"call CP1 Reset {bad", exitUsage, "PAYLOAD is not JSON: invalid character 'b'"},
		{"call CP1 Reset []", exitUsage, "PAYLOAD must be a JSON object"},
		{"call CP1 Reset {} -timeout soon", exitUsage, `-timeout "soon": want a duration`},
		{"send CP1 {}", exitUsage, "MESSAGE must be a JSON array"},
		{"close CP1 -code 9", exitUsage, `-code "9": want a number`},
		{"drain", exitUsage, "usage: holdfast drain [options] PROCESSOR"},
		{"completion fish", exitUsage, `no completion for "fish"`},
		{"status -admin-socket /nowhere/admin.sock", exitUnreachable, "no gateway answers at /nowhere/admin.sock"},
		{"call -admin-socket /nowhere/admin.sock CP1 Reset", exitUnreachable, "there is no such socket"},
		{"tap -h", 0, "usage: holdfast tap [options] ID|GLOB"},
	} {
		var stdout, stderr bytes.Buffer
		code := run(strings.Fields(c.args), &stdout, &stderr)
		if code != c.code || !strings.Contains(stdout.String()+stderr.String(), c.says) {
			t.Errorf("holdfast %s: exit code %d, want %d, and %q in:\n%s%s", c.args, code, c.code, c.says, &stdout, &stderr)
		}
		if code != 0 && c.args != "" && strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("holdfast %s says more than one line:\n%s", c.args, &stderr)
		}
	}
}

// What chargers say is shown without what a terminal would obey.
func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		`[2,"a","Heartbeat",{}]`: `[2,"a","Heartbeat",{}]`,
		"\x1b[31mred\a":          `\x1b[31mred\a`,
		"a\nb\u009bc\u202ed":     `a\nb\u009bc\u202ed`,
		"Säule 7":                "Säule 7",
		"S\xe4ule\x00 \ufffd":    `S\xe4ule\x00 �`,
	} {
		if got := printable(in); got != want {
			t.Errorf("%q is shown as %q, want %q", in, got, want)
		}
	}
}

// docs/operations.md has each command and exit code.
func TestCommandsAreDocumented(t *testing.T) {
	b, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range commands() {
		if !strings.Contains(string(b), "holdfast "+c.name) {
			t.Errorf("docs/operations.md does not know `holdfast %s`", c.name)
		}
	}
	for _, e := range exitCodes {
		if row := fmt.Sprintf("| %d | %s |", e.code, e.text); !strings.Contains(string(b), row) {
			t.Errorf("docs/operations.md lacks the line\n%s", row)
		}
	}
}

// completed is what bash offers behind a command line.
func completed(t *testing.T, script, path string, words ...string) []string {
	t.Helper()
	var quoted []string
	for _, w := range words {
		quoted = append(quoted, zshQuote(w))
	}
	cmd := exec.Command("bash", "-c", script+fmt.Sprintf(`
COMP_WORDS=(%s); COMP_CWORD=%d
_holdfast
printf '%%s\n' "${COMPREPLY[@]}"`, strings.Join(quoted, " "), len(words)-1))
	cmd.Env = append(os.Environ(), "PATH="+path+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("bash: %v\n%s", err, out)
	}
	return strings.Fields(string(out))
}

func TestBashCompletion(t *testing.T) {
	var script bytes.Buffer
	bashCompletion(&script)
	dir := t.TempDir()
	fake := "#!/bin/sh\necho \"$@\" > " + dir + "/asked\ncase $1 in list) echo CP000001; echo CP000002;; status) echo billing-1;; esac\n"
	if err := os.WriteFile(filepath.Join(dir, "holdfast"), []byte(fake), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		words string
		want  string
	}{
		{"holdfast st", "status"},
		{"holdfast co", "completion"},
		{"holdfast call -t", "-timeout"},
		{"holdfast serve -log-format ", "json text"},
		{"holdfast call CP", "CP000001 CP000002"},
		{"holdfast call -timeout 5s -json CP000001", "CP000001"},
		{"holdfast call CP000001 Get", ""},
		{"holdfast drain b", "billing-1"},
		{"holdfast completion z", "zsh"},
		{"holdfast list -n", "-names"},
	} {
		got := completed(t, script.String(), dir, strings.Split(c.words, " ")...)
		if slices.Sort(got); strings.Join(got, " ") != c.want {
			t.Errorf("%q is completed with %q, want %q", c.words, got, c.want)
		}
	}
	completed(t, script.String(), dir, "holdfast", "tap", "-admin-socket", "/x/admin.sock", "CP")
	if b, _ := os.ReadFile(dir + "/asked"); string(b) != "list -names -admin-socket /x/admin.sock CP*\n" {
		t.Errorf("the gateway was asked with %q", b)
	}
	for _, o := range allOptions() {
		if !regexp.MustCompile(`[" ]-` + o.Name + `[" ]`).MatchString(script.String()) {
			t.Errorf("-%s is not completed", o.Name)
		}
	}
}

func TestZshCompletion(t *testing.T) {
	var script bytes.Buffer
	zshCompletion(&script)
	for _, o := range allOptions() {
		if !strings.Contains(script.String(), "'-"+o.Name+"[") {
			t.Errorf("-%s is not completed", o.Name)
		}
	}
	if _, err := exec.LookPath("zsh"); err != nil {
		t.Skip("zsh is not installed (apt-get install zsh): its syntax is not checked")
	}
	cmd := exec.Command("zsh", "-n")
	cmd.Stdin = &script
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("zsh -n: %v\n%s", err, out)
	}
}
