package credentials

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// credentialOf is the entry of identity with password, as passwd makes it.
func credentialOf(identity, password string) string {
	return identity + ":" + New([16]byte{1, 2, 3}, []byte(password)).String()
}

func writeFile(t *testing.T, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "chargers")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPasswords(t *testing.T) {
	const raw = "\x01\x02\xffraw"
	path := writeFile(t, "# chargers", "", credentialOf("CP-1", "secret"), credentialOf("CP-2", "0102FF726177"), credentialOf("a:b", raw), credentialOf("CP-4", "ends\x00"))
	for _, tt := range []struct {
		identity, password string
		anyHex             bool
		known, right       bool
	}{
		{"CP-1", "secret", false, true, true},
		{"CP-1", "Secret", false, true, false},
		{"CP-1", "secret\n", false, true, true},
		{"CP-1", "secret\r\n", false, true, true},
		{"CP-1", "secret\x00", false, true, true},
		{"CP-1", "\nsecret", false, true, false},
		{"CP-4", "ends\x00", false, true, true},
		{"CP-4", "ends", false, true, false},
		{"CP-1", "", false, true, false},
		{"CP-1", "736563726574", false, true, false},
		{"CP-1", "736563726574", true, true, true}, // hexadecimal sent, bytes stored
		{"CP-2", raw, false, true, false},
		{"CP-2", raw, true, true, true}, // bytes sent, capital digits stored
		{"CP-2", "0102ff726177", true, true, true},
		{"a:b", raw, false, true, true},
		{"a:b", "0102fF726177", true, true, true},
		{"CP-3", "secret", false, false, false},
	} {
		p, err := NewPasswords(path, tt.anyHex)
		if err != nil {
			t.Fatal(err)
		}
		if known, right := p.Check(tt.identity, []byte(tt.password)); known != tt.known || right != tt.right {
			t.Errorf("%s with %q: known %v, right %v", tt.identity, tt.password, known, right)
		}
	}
}

func TestAuthFileFaults(t *testing.T) {
	good := credentialOf("CP-1", "x")
	for _, tt := range []struct{ line, want string }{
		{"CP-1", "want identity:sha256:salt:hash"},
		{"CP-1:x:y", "want identity:sha256:salt:hash"},
		{strings.Replace(good, "sha256", "md5", 1), "want identity:sha256:salt:hash"},
		{good[:len(good)-1], "32 and 64 hexadecimal digits"},
		{good[:len(good)-1] + "x", "salt and hash are hexadecimal"},
		{credentialOf("", "x"), "identity"},
		{credentialOf("CP-0", "x"), "CP-0 stands there twice"},
	} {
		path := writeFile(t, credentialOf("CP-0", "x"), tt.line)
		_, err := readAuthFile(path)
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path+":2: ") {
			t.Errorf("%q: %v; want %q", tt.line, err, tt.want)
		}
		if err != nil && tt.line != "" && strings.Contains(err.Error(), New([16]byte{1, 2, 3}, []byte("x")).String()) {
			t.Errorf("%q: the error shows the hash", tt.line)
		}
	}
}

// An auth-file that an editor or a disk has damaged is read by nobody in part.
func TestDamagedAuthFile(t *testing.T) {
	first, last := credentialOf("CP-1", "x"), credentialOf("CP-2", "y")
	whole := first + "\n" + last + "\n"
	for name, text := range map[string]string{
		"a byte-order mark":           "\xef\xbb\xbf" + whole,
		"UTF-16":                      "\xff\xfe" + strings.Join(strings.Split(whole, ""), "\x00") + "\x00",
		"NUL bytes inside":            whole[:len(whole)-40] + strings.Repeat("\x00", 20) + whole[len(whole)-20:],
		"NUL bytes at the end":        whole + strings.Repeat("\x00", 512),
		"its last line cut":           whole[:len(whole)-9],
		"its last line cut in a name": first + "\nCP",
		"lines glued":                 first + last + "\n",
		"CR alone":                    strings.ReplaceAll(whole, "\n", "\r"),
		"indented":                    "  " + whole,
		"twice":                       whole + whole,
	} {
		path := filepath.Join(t.TempDir(), "chargers")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if all, err := readAuthFile(path); err == nil || !strings.Contains(err.Error(), path+":") {
			t.Errorf("%s: %d chargers, %v", name, len(all), err)
		}
	}
	if all, err := readAuthFile(writeFile(t, strings.ReplaceAll(whole, "\n", "\r\n"))); err != nil || len(all) != 2 {
		t.Errorf("CR LF: %d chargers, %v", len(all), err)
	}
}

// An entry takes the place of the one before, and everything else stays.
func TestChangeAuthFile(t *testing.T) {
	other, comment := credentialOf("CP-2", "y"), "# not:sha256:touched:"
	path := writeFile(t, comment, credentialOf("CP-1", "x"), other)
	for _, step := range []struct{ entry, want string }{
		{credentialOf("CP-1", "new"), fmt.Sprintf("%s\n%s\n%s\n", comment, credentialOf("CP-1", "new"), other)},
		{"", fmt.Sprintf("%s\n%s\n", comment, other)},
		{credentialOf("CP-1", "again"), fmt.Sprintf("%s\n%s\n%s\n", comment, other, credentialOf("CP-1", "again"))},
	} {
		if err := ChangeAuthFile(path, "CP-1", step.entry, -1); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(path); string(got) != step.want {
			t.Errorf("the file is\n%swant\n%s", got, step.want)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if left, _ := filepath.Glob(path + ".*"); len(left) > 0 {
		t.Errorf("left over: %q", left)
	}
	if err := ChangeAuthFile(path, "CP-9", "", -1); err == nil {
		t.Error("deleted what was not there")
	}
	if err := ChangeAuthFile(filepath.Join(path, "x"), "CP-9", "x", -1); err == nil {
		t.Error("wrote into a file as if it were a directory")
	}
}
