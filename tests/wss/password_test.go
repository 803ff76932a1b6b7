package wss

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/tests/harness"
	"holdfast/tests/pki"
)

func basic(user, password string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// passwd runs holdfast passwd.
func passwd(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.Command(harness.Holdfast(), append([]string{"passwd"}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("holdfast passwd %q: %v", args, err)
	}
	return strings.TrimSpace(string(out))
}

// rawKey is a key as chargers send it: OCPP 1.6 has 20 bytes that are no text.
const rawKey = "\x00\xff:\x80 20 bytes of a key"

// Who has the right password gets in, over wss and over ws, also as 20 raw bytes.
func TestPasswords(t *testing.T) {
	file := filepath.Join(t.TempDir(), "passwords")
	passwd(t, "secret\n", "-file", file, "CP-1")
	passwd(t, hex.EncodeToString([]byte(rawKey))+"\n", "-file", file, "-hex", "CP-RAW")
	passwd(t, strings.ToUpper(hex.EncodeToString([]byte(rawKey)))+"\n", "-file", file, "CP-DIGITS")
	made := passwd(t, "", "-file", file, "-generate", "CP-MADE")
	for _, anyHex := range []bool{false, true} {
		// Wrong passwords of a trusted address are not slowed down.
		args, unknown := []string{"-auth", "file", "-auth-file", file, "-trusted", "127.0.0.1"}, http.StatusUnauthorized
		if anyHex {
			args, unknown = append(args, "-auth-hex", "true", "-unknown-charger", "404"), http.StatusNotFound
		}
		w := harness.NewWithProcessor(t, args...)
		hexOnly := http.StatusUnauthorized
		if anyHex {
			hexOnly = http.StatusSwitchingProtocols
		}
		digits := hex.EncodeToString([]byte(rawKey))
		for _, c := range []struct {
			name, identity string
			header         []string
			status         int
		}{
			{"right", "CP-1", []string{basic("CP-1", "secret")}, 101},
			{"wrong", "CP-1", []string{basic("CP-1", "Secret")}, 401},
			{"longer", "CP-1", []string{basic("CP-1", "secret ")}, 401},
			{"empty", "CP-1", []string{basic("CP-1", "")}, 401},
			{"none", "CP-1", nil, 401},
			{"not basic", "CP-1", []string{"Authorization: Bearer secret"}, 401},
			{"not base64", "CP-1", []string{"Authorization: Basic !!!"}, 401},
			{"user of another", "CP-1", []string{basic("CP-MADE", "secret")}, 401},
			{"password of another", "CP-1", []string{basic("CP-1", made)}, 401},
			{"unknown", "CP-9", []string{basic("CP-9", "secret")}, unknown},
			{"generated", "CP-MADE", []string{basic("CP-MADE", made)}, 101},
			{"raw bytes", "CP-RAW", []string{basic("CP-RAW", rawKey)}, 101},
			{"raw bytes as digits", "CP-RAW", []string{basic("CP-RAW", digits)}, hexOnly},
			{"raw bytes as capital digits", "CP-RAW", []string{basic("CP-RAW", strings.ToUpper(digits))}, hexOnly},
			{"digits", "CP-DIGITS", []string{basic("CP-DIGITS", strings.ToUpper(digits))}, 101},
			{"digits as raw bytes", "CP-DIGITS", []string{basic("CP-DIGITS", rawKey)}, hexOnly},
			{"raw bytes, wrong", "CP-RAW", []string{basic("CP-RAW", rawKey[1:])}, 401},
		} {
			resp := request(t, dialTLS(t, w, w.TLS.Client()), c.identity, c.header...)
			plain := request(t, connect(t, w.Addr), c.identity, c.header...)
			if resp.StatusCode != c.status || plain.StatusCode != c.status {
				t.Errorf("%s, auth-hex %v: %d over wss and %d over ws, want %d", c.name, anyHex, resp.StatusCode, plain.StatusCode, c.status)
			}
			if challenge := resp.Header.Get("WWW-Authenticate"); (c.status == 401) != strings.HasPrefix(challenge, "Basic ") {
				t.Errorf("%s: %d with WWW-Authenticate %q", c.name, c.status, challenge)
			}
		}
		for _, secret := range []string{"secret ", made, digits} {
			if w.Log.Contains(secret) {
				t.Errorf("the log has the password %q", secret)
			}
		}
	}
}

// A stranger who guesses hears the same of an identity that there is and of one that there
// is not; the log tells them apart.
func TestUnknownChargerSoundsLikeAWrongPassword(t *testing.T) {
	file := filepath.Join(t.TempDir(), "passwords")
	passwd(t, "secret\n", "-file", file, "CP-1")
	w := harness.New(t, "-auth", "file", "-auth-file", file)
	answers := map[string]bool{}
	for _, identity := range []string{"CP-1", "CP-9"} {
		for _, headers := range [][]string{{basic(identity, "guess")}, {basic("another", "guess")}, nil} {
			resp := request(t, connect(t, w.Addr), identity, headers...)
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			answers[fmt.Sprint(len(headers) > 0 && headers[0] == basic(identity, "guess"), len(headers), resp.Status, resp.Header, string(body))] = true
		}
	}
	if len(answers) != 3 {
		t.Errorf("known and unknown identities differ: %v", answers)
	}
	logged(t, w, "refused", "no charger of this identity")
}

// The file is read again when it changes; a bad one changes nothing.
func TestPasswordsChange(t *testing.T) {
	file := filepath.Join(t.TempDir(), "passwords")
	passwd(t, "first\n", "-file", file, "CP-1")
	w := harness.NewWithProcessor(t, "-auth", "file", "-auth-file", file)
	status := func(identity, password string) int {
		t.Helper()
		return request(t, dialTLS(t, w, w.TLS.Client()), identity, basic(identity, password)).StatusCode
	}
	if got := status("CP-1", "first"); got != 101 {
		t.Fatal(got)
	}
	passwd(t, "second\n", "-file", file, "CP-1")
	harness.Until(t, "the new password to be right", func() bool { return status("CP-1", "second") == 101 })
	if got := status("CP-1", "first"); got != 401 {
		t.Errorf("the old password: %d", got)
	}
	if err := pki.Replace(file, []byte("CP-1:plain\n")); err != nil {
		t.Fatal(err)
	}
	logged(t, w, "passwords stay as they were", file+":1")
	if got := status("CP-1", "second"); got != 101 {
		t.Errorf("with a bad file: %d", got)
	}
	entry := passwd(t, "third\n", "CP-3")
	if err := pki.Replace(file, []byte("# a comment\n\n"+entry+"\n")); err != nil {
		t.Fatal(err)
	}
	harness.Until(t, "another charger to be known", func() bool { return status("CP-3", "third") == 101 })
	if got := status("CP-1", "second"); got != 401 {
		t.Errorf("a charger that was taken out: %d", got)
	}
	passwd(t, "", "-file", file, "-delete", "CP-3")
	harness.Until(t, "the last to be taken out", func() bool { return status("CP-3", "third") == 401 })
}
