package admin

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast/tests/harness"
)

// What scripts go by; the table is in docs/operations.md.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitUnreachable = 3
	exitOffline     = 4
	exitCallError   = 5
	exitTimeout     = 6
	exitBadAnswer   = 9
)

func TestCall(t *testing.T) {
	w := harness.New(t, "-loops", "2")
	w.Processor("p")
	c := connect(t, w, "CP000001")
	for range 2 { // the second time behind an upgrade
		if out := done(t, w, "call", "CP000001", "Echo", `{"a": [1, "ü"]}`); out != `{"a":[1,"ü"]}`+"\n" {
			t.Errorf("the answer is %q", out)
		}
		for _, action := range []string{"Marked", "Binary"} {
			if out := done(t, w, "call", "CP000001", action, `{"a":1}`); out != `{"a":1}`+"\n" {
				t.Errorf("the answer to %s is %q", action, out)
			}
		}
		for _, f := range []struct {
			what string
			args []string
			code int
			says []string
		}{
			{"a NUL in a string", []string{"CP000001", "Broken"}, exitBadAnswer, []string{"not valid OCPP", `"value":"1\x00\x1b[31m"}]}]`}},
			{"cut off", []string{"CP000001", "Cut"}, exitBadAnswer, []string{"unexpected end of JSON input", `{"configurationKey":[{"key`}},
			{"offline", []string{"CP-nobody", "Echo", "{}"}, exitOffline, []string{"CP-nobody", "not connected"}},
			{"unknown action", []string{"CP000001", "Nonsense"}, exitCallError, []string{"NotImplemented", `no \x1b[31mred action`}},
			{"time-out", []string{"-timeout", "300ms", "CP000001", "Silent"}, exitTimeout, []string{"no answer in time"}},
			{"bad JSON", []string{"CP000001", "Echo", `{"a":}`}, exitUsage, []string{"not JSON"}},
		} {
			code, out, errs := command(t, w, "call", f.args...)
			if code != f.code || out != "" {
				t.Errorf("%s: exit code %d, want %d; printed %q", f.what, code, f.code, out)
			}
			oneLine(t, f.what, errs, f.says...)
		}
		upgraded(t, w)
	}
	code, out, _ := command(t, w, "call", "-json", "CP000001", "Nonsense")
	var result struct{ Outcome, Code string }
	if err := json.Unmarshal([]byte(out), &result); err != nil || code != exitCallError || result.Outcome != "call_error" || result.Code != "NotImplemented" {
		t.Errorf("exit code %d, %v: %s", code, err, out)
	}
	w.Logged(w.Process, `"order":"CALL","pid":`)
	code, out, _ = command(t, w, "call", "-json", "CP000001", "Broken")
	var broken struct {
		Outcome string
		Answer  []byte
	}
	if err := json.Unmarshal([]byte(out), &broken); err != nil || code != exitBadAnswer || broken.Outcome != "malformed" || !strings.Contains(string(broken.Answer), "\"1\x00\x1b[31m\"") {
		t.Errorf("exit code %d, %v: %s", code, err, out)
	}

	done(t, w, "send", "CP000001", `[6, "m1", "Notice", {}]`)
	select {
	case got := <-c.got:
		if got != `[6, "m1", "Notice", {}]` {
			t.Errorf("the charger got %s", got)
		}
	case <-time.After(harness.Deadline):
		t.Error("the charger did not get what was sent")
	}
	done(t, w, "close", "-code", "3001", "-reason", "enough", "CP000001")
	select {
	case code := <-c.closed:
		if code != 3001 {
			t.Errorf("closed with %d", code)
		}
	case <-time.After(harness.Deadline):
		t.Error("the charger was not closed")
	}
	w.Logged(w.Process, `"by":"operator"`)
	if code, _, errs := command(t, w, "close", "CP000001"); code != exitOffline {
		t.Errorf("closing one that is not there: exit code %d, %s", code, errs)
	}
}

func TestStatusAndList(t *testing.T) {
	w := harness.New(t, "-loops", "2")
	w.Processor("alpha")
	connect(t, w, "CP-1")
	connect(t, w, "CP-2")
	connect(t, w, "other")
	type status struct {
		PID         int
		Connections int
		Kinds       []struct {
			Subprotocol string
			Connections int
		}
		Links []struct {
			Processor string
			PID       int
			Chargers  int
		}
		LastUpgrade *struct {
			Outcome string
			PauseMS float64 `json:"pause_ms"`
		} `json:"last_upgrade"`
	}
	read := func() (s status) {
		if err := json.Unmarshal([]byte(done(t, w, "status", "-json")), &s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	harness.Until(t, "three chargers of one processor", func() bool {
		s := read()
		owned := 0
		for _, l := range s.Links {
			owned += l.Chargers
		}
		return s.Connections == 3 && owned == 3
	})
	if s := read(); len(s.Kinds) != 1 || s.Kinds[0].Subprotocol != "ocpp1.6" || s.Kinds[0].Connections != 3 || len(s.Links) != 2 || s.LastUpgrade != nil {
		t.Errorf("status: %+v", s)
	}
	upgraded(t, w)
	s := read()
	pid, err := w.CurrentPid()
	if err != nil || s.PID != pid || s.Connections != 3 || s.LastUpgrade == nil || s.LastUpgrade.Outcome != "done" || s.LastUpgrade.PauseMS <= 0 {
		t.Errorf("status of process %d (%v) behind an upgrade: %+v", pid, err, s)
	}
	text := done(t, w, "status")
	for _, want := range []string{"3 of at most", "3 ocpp1.6", "alpha", "done in"} {
		if !strings.Contains(text, want) {
			t.Errorf("status does not say %q:\n%s", want, text)
		}
	}
	if out := done(t, w, "list", "-names", "CP-*"); out != "CP-1\nCP-2\n" {
		t.Errorf("listed: %q", out)
	}
	rows := strings.Split(strings.TrimSpace(done(t, w, "list", "-json")), "\n")
	var row struct{ Identity, Subprotocol, Remote, Processor string }
	if err := json.Unmarshal([]byte(rows[len(rows)-1]), &row); err != nil || len(rows) != 3 || row.Identity != "other" || row.Processor != "alpha" || row.Remote == "" {
		t.Errorf("%v: %q", err, rows)
	}
	if code, _, errs := command(t, w, "list", "["); code != exitUsage {
		t.Errorf("a bad pattern: exit code %d, %s", code, errs)
	}
}

// A drained processor can be killed, and nothing is delivered twice.
func TestDrain(t *testing.T) {
	w := harness.New(t)
	a := w.Checkproc("a")
	w.Checkproc("b")
	l := w.Load(40, 400)
	l.More(100)
	oneLine(t, "drain", done(t, w, "drain", "a"), "a is drained")
	w.Kill(a)
	l.More(200)
	if again, _ := w.CheckLedger(l.Finish()); again != 0 {
		t.Errorf("%d messages were redelivered", again)
	}
	if code, _, errs := command(t, w, "drain", "nobody"); code != exitOffline {
		t.Errorf("draining nobody: exit code %d, %s", code, errs)
	}
	w.Logged(w.Process, `"order":"drain"`)
}

// A processor that was drained gets its share again, also behind an upgrade.
func TestUndrain(t *testing.T) {
	w := harness.New(t, "-loops", "2")
	w.Checkproc("a")
	w.Checkproc("b")
	l := w.Load(40, 400)
	share := func() (n int) {
		var s struct {
			Links []struct {
				Processor string
				Chargers  int
			}
		}
		if err := json.Unmarshal([]byte(done(t, w, "status", "-json")), &s); err != nil {
			t.Fatal(err)
		}
		for _, link := range s.Links {
			if link.Processor == "a" {
				n += link.Chargers
			}
		}
		return n
	}
	l.More(100)
	before := share()
	done(t, w, "drain", "a")
	l.More(100)
	if n := share(); before == 0 || n != 0 {
		t.Errorf("it had %d chargers, and drained %d", before, n)
	}
	upgraded(t, w)
	oneLine(t, "undrain", done(t, w, "undrain", "a"), "a gets its share of the chargers again")
	harness.Until(t, "its share", func() bool { return share() == before })
	for _, r := range []struct {
		name, why string
		code      int
	}{{"a", "not drained", exitFailed}, {"nobody", "has joined", exitOffline}} {
		if code, _, errs := command(t, w, "undrain", r.name); code != r.code || !strings.Contains(errs, r.why) {
			t.Errorf("undraining %s: exit code %d, %s", r.name, code, errs)
		}
	}
	l.More(100)
	if again, _ := w.CheckLedger(l.Finish()); again != 0 {
		t.Errorf("%d messages were redelivered", again)
	}
}

// A drain that somebody takes back is not called done.
func TestUndrainDuringDrain(t *testing.T) {
	w := harness.New(t)
	a := w.Checkproc("a")
	w.Checkproc("b")
	connect(t, w, "CP-1")
	// One of the two has it, and does not answer.
	w.Pause(a)
	l := w.Load(20, 20)
	l.More(20)
	type ended struct {
		code int
		errs string
	}
	drained := make(chan ended, 1)
	go func() {
		code, _, errs := command(t, w, "drain", "a")
		drained <- ended{code, errs}
	}()
	w.Logged(w.Process, `"order":"drain"`)
	done(t, w, "undrain", "a")
	if e := <-drained; e.code == 0 || !strings.Contains(e.errs, "undrain") {
		t.Errorf("the drain: exit code %d, %s", e.code, e.errs)
	}
	w.Resume(a)
	w.CheckLedger(l.Finish())
}

// The last processor is drained by force only, and then no metric shows it as one that
// serves.
func TestDrainTheLast(t *testing.T) {
	w := harness.New(t, "-admin", "127.0.0.1:0")
	w.Checkproc("a")
	code, _, errs := command(t, w, "drain", "a")
	if code == 0 || !strings.Contains(errs, "only processor") || !strings.Contains(errs, "-force") {
		t.Errorf("draining the last: exit code %d, %s", code, errs)
	}
	addr := metricsAddr(t, w)
	links := func(kind string) bool {
		_, text := get(t, "http://"+addr+"/metrics")
		return strings.Contains(string(text), `holdfast_links{kind="`+kind+`"} 1`)
	}
	if !links("processor") {
		t.Error("a refused drain has drained")
	}
	oneLine(t, "drain", done(t, w, "drain", "-force", "a"), "a is drained")
	if links("processor") || !links("draining") {
		t.Error("a drained processor counts as one that serves")
	}
}

// A charger that reboots again and again while no processor is there is named.
func TestRestlessCharger(t *testing.T) {
	w := harness.New(t, "-loops", "2")
	calm := connect(t, w, "CP-calm")
	calm.send(`[2,"1","Heartbeat",{}]`)
	for i := range 30 {
		c := connect(t, w, "CP-reboots")
		if i%2 == 0 {
			c.send(`[2,"1","BootNotification",{}]`)
		}
		_ = c.conn.Close()
	}
	var s struct {
		Queue struct {
			Restless []struct {
				Identity    string
				Connections int
			}
		}
	}
	harness.Until(t, "all connections", func() bool {
		if err := json.Unmarshal([]byte(done(t, w, "status", "-json")), &s); err != nil {
			t.Fatal(err)
		}
		return len(s.Queue.Restless) == 1 && s.Queue.Restless[0].Connections == 30
	})
	if s.Queue.Restless[0].Identity != "CP-reboots" {
		t.Errorf("%+v", s)
	}
	upgraded(t, w)
	if out := done(t, w, "status"); !strings.Contains(out, "CP-reboots has connected 30 times in ") || strings.Contains(out, "CP-calm") {
		t.Errorf("status says\n%s", out)
	}
	w.Checkproc("p")
	harness.Until(t, "a processor to take it", func() bool { return !strings.Contains(done(t, w, "status"), "CP-reboots") })
}

// Messages that wait while no processor takes them are warned of once, and so is the end.
func TestWaitingIsWarnedOf(t *testing.T) {
	w := harness.New(t, "-loops", "2")
	c := connect(t, w, "CP-1")
	c.send(`[2,"1","BootNotification",{}]`)
	line := w.Logged(w.Process, "messages wait, and no processor takes them")
	if line.String("level") != "WARN" || line.Fields["chargers"] != float64(1) || line.Fields["messages"] != float64(2) || line.String("subprotocols") != "ocpp1.6" {
		t.Errorf("%s", line.Text)
	}
	w.Checkproc("p")
	w.Logged(w.Process, "messages are taken again")
	warned := 0
	for _, l := range w.Process.Log.Lines() {
		if l.Msg() == "messages wait, and no processor takes them" {
			warned++
		}
	}
	if warned != 1 {
		t.Errorf("warned %d times", warned)
	}
}

func TestNoGateway(t *testing.T) {
	w := harness.New(t)
	info, err := os.Stat(w.AdminSocket())
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the admin socket has %v, %v", info.Mode(), err)
	}
	if err := w.SignalCurrent(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-w.Exited()
	for _, args := range [][]string{{"status"}, {"list"}, {"call", "CP1", "Reset"}, {"tap", "*"}, {"upgrade"}} {
		code, _, errs := command(t, w, args[0], args[1:]...)
		if code != exitUnreachable {
			t.Errorf("%s: exit code %d", args[0], code)
		}
		oneLine(t, args[0], errs, "no gateway answers at "+w.AdminSocket())
	}
}

// The group of -admin-group may give commands, too; a group that is not there is
// a fault of the configuration.
// A configuration that is refused changes nothing of who may give orders.
func TestAdminGroupAfterARollBack(t *testing.T) {
	const group = 12345
	w := harness.NewOf(t, harness.Setup{File: true})
	rights := func() (mode os.FileMode, gid int) {
		info, err := os.Stat(w.AdminSocket())
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode().Perm(), int(info.Sys().(*syscall.Stat_t).Gid)
	}
	before, _ := rights()
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	if os.Getuid() != 0 {
		t.Skip("only root may give a file to any group")
	}
	if err := w.Configure(fmt.Sprint("admin-group ", group), "admin "+busy.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if out, err := w.Upgrade(t.Context(), harness.Holdfast()); err == nil {
		t.Fatalf("the upgrade was done: %s", out)
	}
	w.Logged(w.Process, "upgrade rolled back")
	harness.Until(t, "the socket's rights to be as before", func() bool {
		mode, _ := rights()
		return mode == before
	})
	if err := w.Configure(fmt.Sprint("admin-group ", group)); err != nil {
		t.Fatal(err)
	}
	w.MustUpgrade()
	if mode, gid := rights(); mode != 0o660 || gid != group {
		t.Errorf("the admin socket after the upgrade: %v, group %d", mode, gid)
	}
}

func TestAdminGroup(t *testing.T) {
	w := harness.New(t, "-admin-group", fmt.Sprint(os.Getgid()))
	info, err := os.Stat(w.AdminSocket())
	if err != nil || info.Mode().Perm() != 0o660 || int(info.Sys().(*syscall.Stat_t).Gid) != os.Getgid() {
		t.Errorf("the admin socket: %v, %v", info.Mode(), err)
	}
	out, err := exec.Command(harness.Holdfast(), "check", "-admin-group", "no-such-group", "-processors", filepath.Join(t.TempDir(), "p.sock")).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "there is no such group") {
		t.Errorf("%v: %s", err, out)
	}
}
