package bridge

import (
	"errors"
	"net/http"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"holdfast/tests/central"
	"holdfast/tests/harness"
)

// The central system decides who may connect, by the charger's own credentials; the
// connection that it accepts is the one that is used; and the next bridge has the
// credentials from the gateway. Nobody else is shown them.
func TestWhoMayConnect(t *testing.T) {
	status := atomic.Int32{}
	admit := admitting("secret-of-cp1")
	w := newWorld(t, central.Config{Admit: func(identity string, r *http.Request) int {
		if s := status.Load(); s != 0 {
			return int(s)
		}
		return admit(identity, r)
	}}, "-auth", "processor")
	args := []string{"-auth", "processor"}
	b := w.bridge(args...)
	for _, s := range []int32{404, 503, 403, 200} {
		status.Store(s)
		want := map[int32]int{200: 503}[s]
		if want == 0 {
			want = int(s)
		}
		if _, err := w.dial("CP1", "secret-of-cp1"); !isStatus(err, want) {
			t.Errorf("at %d the charger gets %v", s, err)
		}
	}
	status.Store(0)
	if _, err := w.dial("CP1", "wrong"); !isStatus(err, 401) {
		t.Errorf("with a wrong password: %v", err)
	}
	c, err := w.dial("CP1", "secret-of-cp1")
	if err != nil {
		t.Fatal(err)
	}
	if got := c.call("a", "Heartbeat"); !strings.HasPrefix(got, `[3,"a"`) {
		t.Error(got)
	}
	if n := w.cs.Connections.Load(); n != 1 {
		t.Errorf("the central system has had %d connections", n)
	}
	if h := w.cs.Conn("CP1").Header; h.Get("X-Forwarded-For") != "127.0.0.1" || h.Get("X-Forwarded-Proto") != "http" {
		t.Errorf("%v", h)
	}

	// Upgrades, releases, and the death of the bridge: the next has the credentials.
	for i, step := range []func(){
		func() { w.MustUpgrade() },
		func() { w.Terminate(b); b = w.bridge(args...) },
		func() { w.Kill(b); w.MustUpgrade(); b = w.bridge(args...) },
	} {
		step()
		if got := c.call("b"+string(rune('0'+i)), "Heartbeat"); !strings.HasPrefix(got, `[3,"b`) {
			t.Error(got)
		}
	}
	// The charger comes again while it is still held: the central system sees nothing.
	before := w.cs.Connections.Load()
	again, err := w.dial("CP1", "secret-of-cp1")
	if err != nil {
		t.Fatal(err)
	}
	again.call("c", "Heartbeat")
	if n := w.cs.Connections.Load(); n != before {
		t.Errorf("the central system has had %d more connections", n-before)
	}
	if _, err := w.dial("CP1", "wrong"); !isStatus(err, 401) {
		t.Errorf("with a wrong password, while it is connected: %v", err)
	}
	again.call("d", "Heartbeat")

	list, err := exec.Command(harness.Holdfast(), "list", "-admin-socket", w.AdminSocket(), "-json").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, list)
	}
	// "secret" itself, and in the two ways in which base64 may have it.
	for _, secret := range []string{"secret-of-cp1", "c2VjcmV0LW9m", "OnNlY3JldC1vZi"} {
		for name, text := range map[string]string{"the gateway's log": w.Log.Tail(1 << 20), "the bridge's log": b.Log.Tail(1 << 20), "the list": string(list)} {
			if strings.Contains(text, secret) {
				t.Errorf("%s shows the password", name)
			}
		}
	}
}

func isStatus(err error, want int) bool {
	got, ok := errors.AsType[ws.StatusError](err)
	return ok && int(got) == want
}

// A charger whose credentials the next bridge could not have is not let in.
func TestLongPassword(t *testing.T) {
	password := strings.Repeat("p", 800)
	w := newWorld(t, central.Config{Admit: admitting(password)}, "-auth", "processor")
	w.bridge("-auth", "processor")
	if _, err := w.dial("CP1", password); !isStatus(err, 403) {
		t.Errorf("the charger gets %v", err)
	}
	if n := w.cs.Connections.Load(); n != 0 {
		t.Errorf("the central system has had %d connections", n)
	}
}

// A bridge that is not asked connects with what its file has.
func TestPasswordsOfAFile(t *testing.T) {
	w := newWorld(t, central.Config{Admit: admitting("of the file")})
	w.bridge("-upstream-auth", w.config("# comment", `CP1 of the file`, `"CP 2" of the file`), "-header", "X-Tenant: seven")
	for _, identity := range []string{"CP1"} {
		c := w.charger(identity)
		if got := c.call("a", "Heartbeat"); !strings.HasPrefix(got, `[3,"a"`) {
			t.Error(got)
		}
	}
	if got := w.cs.Conn("CP1").Header.Get("X-Tenant"); got != "seven" {
		t.Errorf("X-Tenant is %q", got)
	}
	w.charger("CP3").silent(50 * time.Millisecond)
}
