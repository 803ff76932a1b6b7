package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	plain = "ws://127.0.0.1:8887/ocpp"
	tls   = "wss://127.0.0.1:8443/ocpp"
)

// day is a machine with what its operator has at hand.
type day struct {
	*machine
	sim  string
	urls []string
	conf string // the configuration, as it should be
}

// What an operator does in the first days, in order. Each step leaves the machine to
// the next, so the first that fails ends it.
func TestDays(t *testing.T) {
	able(t)
	d := &day{machine: boot(t), sim: simulator(t)}
	for _, step := range []struct {
		name string
		do   func(*day)
	}{
		{"install", (*day).install},
		{"security", (*day).security},
		{"secrets", (*day).secrets},
		{"options", (*day).options},
		{"severity", (*day).severity},
		{"drain", (*day).drain},
		{"under load", (*day).underLoad},
		{"stop", (*day).stop},
		{"socket activation", (*day).activation},
		{"watchdog", (*day).watchdog},
		{"remove", (*day).remove},
	} {
		began := time.Now()
		if !t.Run(step.name, func(t *testing.T) {
			d.t = t
			step.do(d)
		}) {
			break
		}
		t.Logf("%s: %v", step.name, time.Since(began).Round(time.Millisecond))
	}
	d.t = t
}

// install: the package starts the service, with users of its own and sockets for whom
// they are.
func (d *day) install() {
	d.do("dpkg -i %s", d.deb("1.0.0"))
	first := d.mainPID()
	if out := d.do("holdfast version"); !strings.HasPrefix(out, "holdfast 1.0.0") {
		d.t.Errorf("version: %q", out)
	}
	for path, want := range map[string]string{
		"/run/holdfast":                 "holdfast:holdfast 755",
		"/run/holdfast/processors.sock": "holdfast:holdfast 660",
		"/run/holdfast/admin.sock":      "holdfast:holdfast 600",
	} {
		if got := d.do("stat -c '%%U:%%G %%a' %s", path); got != want {
			d.t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	if got := d.do("systemctl is-enabled holdfast"); got != "enabled" {
		d.t.Errorf("the service is %s", got)
	}
	d.conf = d.do("cat /etc/holdfast/holdfast.conf") + "\nshutdown-grace 2s\n"
	d.urls = []string{plain}
	if strings.Contains(d.do("holdfast help"), "-listen-tls") {
		cert, key := certificate(d.t)
		d.write("/etc/holdfast/tls.crt", cert)
		d.write("/etc/holdfast/tls.key", key)
		// As releases before had it: processors can read it.
		d.do("chgrp holdfast /etc/holdfast/tls.key && chmod 640 /etc/holdfast/tls.key")
		d.conf += "listen-tls 127.0.0.1:8443\ntls-cert /etc/holdfast/tls.crt\ntls-key /etc/holdfast/tls.key\n"
		d.urls = append(d.urls, tls)
	}
	d.t.Logf("chargers connect to %s", strings.Join(d.urls, " and "))
	d.write("/etc/holdfast/holdfast.conf", d.conf)
	d.do("systemctl reload holdfast")
	d.another(first)
	d.do("systemctl enable --now holdfast-processor@1 holdfast-processor@2")
	d.until("two processors", func() bool { return strings.Contains(d.status(), "2 links") })
	if out, err := d.try("systemctl --failed --no-legend"); err != nil || strings.TrimSpace(out) != "" {
		d.t.Errorf("units have failed: %s", out)
	}
}

func (d *day) status() string { return d.property("holdfast", "StatusText") }

// another checks that the gateway is another process than before.
func (d *day) another(before int) (now int) {
	d.t.Helper()
	if now = d.mainPID(); now == before {
		d.t.Errorf("process %d still serves", now)
	}
	return now
}

// same checks that it is not.
func (d *day) same(before int) {
	d.t.Helper()
	if now := d.mainPID(); now != before {
		d.t.Errorf("process %d serves instead of %d", now, before)
	}
}

func (d *day) security() {
	out := d.do("systemd-analyze security --no-pager holdfast.service")
	m := regexp.MustCompile(`Overall exposure level for holdfast.service: ([0-9.]+)`).FindStringSubmatch(out)
	if m == nil {
		d.t.Fatalf("no level:\n%s", out)
	}
	if level, err := strconv.ParseFloat(m[1], 64); err != nil || level > 1.5 {
		d.t.Errorf("exposure level %s, want at most 1.5:\n%s", m[1], out)
	}
	d.t.Logf("exposure level %s", m[1])
}

// secrets: who may join may not read the key. The gateway warns of an installation that
// is as older releases had it, and a package corrects that while everybody stays.
func (d *day) secrets() {
	const read = "setpriv --reuid holdfast-processor --regid holdfast --init-groups cat /etc/holdfast/tls.key"
	const warning = "processors can read a secret"
	d.do(read)
	d.until("a warning", func() bool {
		return strings.Contains(d.do("journalctl --no-pager -u holdfast"), warning)
	})
	now := d.mainPID()
	load := d.connect(d.sim, 50, 50, d.urls...)
	d.do("dpkg -i %s", d.deb("1.0.0"))
	now = d.another(now)
	d.fails(read)
	if got := d.do("stat -c '%%U:%%G %%a' /etc/holdfast/tls.key"); got != "holdfast:holdfast 400" {
		d.t.Errorf("key: %s", got)
	}
	d.do("systemctl restart holdfast-processor@1")
	d.until("two processors", func() bool { return strings.Contains(d.status(), "2 links") })
	if out := d.do("journalctl --no-pager -u holdfast _PID=%d", now); strings.Contains(out, warning) {
		d.t.Errorf("it still warns:\n%s", out)
	}
	load.nothing()
}

// options: new sockets are taken by a reload, and those who are joined stay; what needs a
// restart is refused with that reason, and changes nothing.
func (d *day) options() {
	load := d.connect(d.sim, 50, 50, d.urls...)
	now := d.mainPID()
	moved := regexp.MustCompile(`(?m)^processors .*$`).ReplaceAllString(d.conf, "processors /run/holdfast/moved.sock\nadmin-socket /run/holdfast/orders.sock")
	if moved == d.conf {
		d.t.Fatalf("no processors in\n%s", d.conf)
	}
	for _, conf := range []string{moved, d.conf} {
		d.write("/etc/holdfast/holdfast.conf", conf)
		d.do("systemctl reload holdfast")
		now = d.another(now)
		d.do("holdfast status -config /etc/holdfast/holdfast.conf")
		d.until("both processors", func() bool { return strings.Contains(d.status(), "2 links") })
	}
	d.do("groupadd duty")
	d.write("/etc/systemd/system/holdfast.service.d/duty.conf", "[Service]\nSupplementaryGroups=duty\nSystemCallFilter=@chown\n")
	d.write("/etc/holdfast/holdfast.conf", d.conf+"admin-group duty\n")
	d.do("systemctl daemon-reload")
	d.fails("systemctl reload holdfast")
	d.same(now)
	if out := d.do("systemctl status --no-pager holdfast"); !strings.Contains(out, "only with a restart") {
		d.t.Errorf("it does not say that a restart is needed:\n%s", out)
	}
	d.write("/etc/holdfast/holdfast.conf", d.conf)
	d.do("rm -r /etc/systemd/system/holdfast.service.d && systemctl daemon-reload && systemctl reload holdfast")
	d.another(now)
	load.nothing()
}

// underLoad: a thousand chargers notice nothing of all that, right or wrong.
func (d *day) underLoad() {
	load := d.connect(d.sim, 1000, 500, d.urls...)
	now := d.mainPID()
	for range 5 {
		d.do("systemctl reload holdfast")
		now = d.another(now)
	}
	d.do("systemctl kill --kill-whom=main -s HUP holdfast")
	before := now
	d.until("another main process", func() bool {
		return d.property("holdfast", "MainPID") != strconv.Itoa(before) && d.property("holdfast", "SubState") == "running"
	})
	now = d.another(before)

	d.do("systemctl restart holdfast-processor@1")
	d.until("two processors", func() bool { return strings.Contains(d.status(), "2 links") })

	out := d.do("dpkg -i %s", d.deb("1.0.1"))
	now = d.another(now)
	d.holds(1000)
	if s := d.status(); !strings.HasPrefix(s, "version 1.0.1,") {
		d.t.Errorf("after the newer package: %s\n%s", s, out)
	}

	d.brokenConfig(now)
	d.crashingBinary(now)
	d.do("systemctl reload holdfast") // works again
	d.another(now)
	d.holds(1000)
	if s := d.status(); strings.Contains(s, "rolled back") {
		d.t.Errorf("after an upgrade that succeeded: %s", s)
	}
	if n := d.property("holdfast", "NRestarts"); n != "0" {
		d.t.Errorf("systemd has restarted the gateway %s times", n)
	}
	load.nothing()
}

// brokenConfig: the reload fails, says why, and changes nothing.
func (d *day) brokenConfig(now int) {
	d.t.Helper()
	d.write("/etc/holdfast/holdfast.conf", d.conf+"ping-intervall 20s\n")
	d.fails("systemctl reload holdfast")
	d.same(now)
	const why = `unknown name "ping-intervall"; did you mean ping-interval?`
	if out := d.do("systemctl status --no-pager holdfast"); !strings.Contains(out, "Status: \"") || strings.Count(out, why) < 2 {
		d.t.Errorf("neither the status nor the log below it says why:\n%s", out) // both should
	}
	d.write("/etc/holdfast/holdfast.conf", d.conf)
	d.do("holdfast check -config /etc/holdfast/holdfast.conf")
}

// crashingBinary: the same, asked for in both ways.
func (d *day) crashingBinary(now int) {
	d.t.Helper()
	d.do("mv /usr/bin/holdfast /usr/bin/holdfast.good")
	d.write("/usr/bin/holdfast", "#!/bin/sh\n[ \"$1\" = serve ] && kill -SEGV $$\nexec /usr/bin/holdfast.good \"$@\"\n")
	d.do("chmod 755 /usr/bin/holdfast")
	d.fails("systemctl reload holdfast")
	d.same(now)
	if s := d.status(); !strings.Contains(s, "rolled back") || !strings.Contains(s, "segmentation fault") {
		d.t.Errorf("the status does not say why: %s", s)
	}
	d.do("systemctl kill --kill-whom=main -s HUP holdfast")
	d.until("the log of both", func() bool {
		return strings.Count(d.do("journalctl --no-pager -u holdfast"), "segmentation fault") >= 2
	})
	d.until("the service to be as before", func() bool { return d.property("holdfast", "SubState") == "running" })
	d.same(now)
	d.do("mv /usr/bin/holdfast.good /usr/bin/holdfast")
}

// stop: chargers are told that the gateway restarts, in order.
func (d *day) stop() {
	c := d.connect(d.sim, 200, 0, d.urls...)
	d.do("systemctl stop holdfast")
	if result := d.property("holdfast", "Result"); result != "success" {
		d.t.Errorf("stopped with %s", result)
	}
	r := c.finish()
	told := 0
	for why, n := range r.DroppedWhy {
		if strings.Contains(why, "1012") {
			told += n
		}
	}
	if r.Dropped != 200 || told != 200 {
		d.t.Errorf("%d chargers were closed, want 200 with 1012: %v", r.Dropped, r.DroppedWhy)
	}
}

// activation: systemd holds the socket, so that nobody is refused while the gateway
// is down, and the socket survives upgrades like any other.
func (d *day) activation() {
	sockets := "holdfast.socket"
	if len(d.urls) > 1 {
		d.write("/etc/systemd/system/holdfast-tls.socket.d/here.conf", "[Socket]\nListenStream=\nListenStream=127.0.0.1:8443\n")
		sockets += " holdfast-tls.socket"
	}
	d.do("groupadd operators")
	d.write("/etc/systemd/system/holdfast.service.d/operators.conf", "[Service]\nSupplementaryGroups=operators\nSystemCallFilter=@chown\n")
	d.write("/etc/holdfast/holdfast.conf", d.conf+"admin-group operators\n")
	d.do("systemctl daemon-reload && systemctl start %s", sockets)
	if state := d.property("holdfast", "ActiveState"); state != "inactive" {
		d.t.Fatalf("the gateway is %s", state)
	}
	for range 2 {
		c := d.connect(d.sim, 50, 50, d.urls...) // starts it
		now := d.mainPID()
		for range 2 {
			d.do("systemctl reload holdfast")
			now = d.another(now)
		}
		c.nothing()
		if got := d.do("stat -c '%%U:%%G %%a' /run/holdfast/admin.sock"); got != "holdfast:operators 660" {
			d.t.Errorf("admin socket: %s", got)
		}
		d.do("systemctl stop holdfast")
	}
	// One that the configuration does not name is no trap for chargers.
	d.do("systemctl stop %s", sockets)
	d.write("/etc/systemd/system/holdfast.socket.d/elsewhere.conf", "[Socket]\nListenStream=127.0.0.1:8899\n")
	d.do("systemctl daemon-reload && systemctl start holdfast.socket")
	d.fails("systemctl start holdfast")
	if out := d.do("journalctl --no-pager -u holdfast"); !strings.Contains(out, "127.0.0.1:8899 (listen), which the configuration does not name") {
		d.t.Error("the log does not say why it did not start")
	}
	d.do("systemctl stop holdfast.socket holdfast && rm -r /etc/systemd/system/holdfast.socket.d && systemctl daemon-reload && systemctl reset-failed")
}

// watchdog: a loop that hangs is noticed, and the gateway restarted. So is one whose
// new process dies when it has just taken over.
func (d *day) watchdog() {
	d.do("dpkg -i %s", d.deb("1.0.2", "TAGS=holdfast_faults")) // it is stopped, and stays so
	if state := d.property("holdfast", "ActiveState"); state != "inactive" {
		d.t.Errorf("installing has started the gateway: %s", state)
	}
	d.write("/etc/systemd/system/holdfast.service.d/test.conf", `[Service]
WatchdogSec=3s
RestartSec=100ms
Environment=HOLDFAST_FAULT=new:active:kill HOLDFAST_FAULT_ONCE=/run/holdfast/fault
`)
	d.do("systemctl daemon-reload && systemctl start holdfast")
	now := d.mainPID()
	d.do("systemctl kill --kill-whom=main -s USR1 holdfast")
	d.until("a restart", func() bool {
		return d.property("holdfast", "NRestarts") == "1" && d.property("holdfast", "SubState") == "running"
	})
	now = d.another(now)
	if out := d.do("journalctl --no-pager -u holdfast"); !strings.Contains(out, "Watchdog timeout") {
		d.t.Error("it was not the watchdog")
	}
	d.connect(d.sim, 50, 50, plain).nothing()

	d.do("touch /run/holdfast/fault && chown holdfast /run/holdfast/fault")
	d.try("systemctl reload holdfast")
	d.until("another restart", func() bool {
		return d.property("holdfast", "NRestarts") == "2" && d.property("holdfast", "SubState") == "running"
	})
	now = d.another(now)
	d.do("systemctl reload holdfast")
	d.another(now)
	d.connect(d.sim, 50, 50, plain).nothing()
}

// remove leaves the configuration until purge, and asks nothing.
func (d *day) remove() {
	d.do("dpkg -r holdfast </dev/null")
	if out, _ := d.try("grep -lE 'holdfast|processor' /proc/[0-9]*/comm"); out != "" {
		d.t.Errorf("still there: %s", out)
	}
	d.do("test -f /etc/holdfast/holdfast.conf && ! test -e /usr/bin/holdfast && ! test -e /lib/systemd/system/holdfast.service")
	d.do("dpkg -P holdfast </dev/null")
	d.do("! test -e /etc/holdfast/holdfast.conf && ! test -e /run/holdfast && ! test -e /var/lib/holdfast-processor")
	if out := d.do("find /etc/systemd /var/lib/systemd -name '*holdfast*' ! -path '*.d' ! -path '*.d/*'"); out != "" {
		d.t.Errorf("left behind: %s", out)
	}
}

// certificate is one for loopback.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	b, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(kind string, b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	return encode("CERTIFICATE", der), encode("PRIVATE KEY", b)
}

// severity: the journal knows the level of each line, so an operator can ask for those
// that matter.
func (d *day) severity() {
	// Each attribute is a field of the journal's.
	if out := d.do("journalctl -u holdfast CHARGER=SIM-00001 EVENT=closed -o cat --no-pager"); !strings.HasPrefix(out, "level=INFO msg=closed charger=SIM-00001 ") {
		d.t.Errorf("the journal has of the end of a charger:\n%s", out)
	}
	for line := range strings.SplitSeq(d.do("journalctl -u holdfast -p warning -o cat --no-pager"), "\n") {
		if strings.Contains(line, "level=") && !strings.Contains(line, "level=WARN") && !strings.Contains(line, "level=ERROR") {
			d.t.Errorf("among the warnings: %s", line)
		}
		if strings.HasPrefix(line, "<") {
			d.t.Errorf("the journal shows the prefix: %s", line)
		}
	}
	for priority, want := range map[string]string{"warning": "level=WARN", "info": "level=INFO"} {
		if out := d.do("journalctl -u holdfast -p %s..%s -o cat --no-pager", priority, priority); !strings.Contains(out, want) {
			d.t.Errorf("no %s with priority %s:\n%s", want, priority, out)
		}
	}
}

// drain: one of two processors can be drained and comes back when it is restarted; the
// last one cannot be without force.
func (d *day) drain() {
	d.do("holdfast drain 1")
	out, err := d.try("holdfast drain 2")
	if err == nil || !strings.Contains(out, "only processor") {
		d.t.Errorf("the last processor was drained: %v, %s", err, out)
	}
	d.do("systemctl restart holdfast-processor@1")
	d.until("nobody drains", func() bool {
		out := d.do("holdfast status")
		return strings.Contains(d.status(), "2 links") && !strings.Contains(out, "drained")
	})
}
