package e2e

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// What can befall a gateway that has a keeper, on a machine that is set up as the package
// does it. Each step prints the longest silence that a charger has noticed.
func TestKeeper(t *testing.T) {
	able(t)
	d := &day{machine: boot(t), sim: simulator(t)}
	for _, step := range []struct {
		name string
		do   func(*day)
	}{
		{"install", (*day).install},
		{"unit", (*day).keeperUnit},
		{"kill", (*day).kill},
		{"panic", (*day).panics},
		{"out of memory", (*day).outOfMemory},
		{"restart", (*day).restart},
		{"restart of the keeper", (*day).keeperRestart},
		{"kill of the keeper", (*day).keeperKill},
		{"reload of the keeper", (*day).keeperReload},
		{"reload, then kill", (*day).reloadThenKill},
		{"newer package, then kill", (*day).packageThenKill},
		{"stop", (*day).stopBesideKeeper},
		{"restart without a keeper", (*day).restartUnkept},
		{"switched off", (*day).switchedOff},
		{"another gateway", (*day).anotherGateway},
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

// fleet is how many chargers there are in each step.
const fleet = 200

// fleet connects chargers that send at a rate, to a gateway that has no others, and whose
// keeper is a new one: five crashes within a minute, of whichever steps, would be too many.
func (d *day) fleet(rate float64) *chargers {
	d.t.Helper()
	kept := d.more("holdfast", keptAgain)
	d.do("systemctl restart holdfast-keeper")
	kept()
	d.heldNow(0)
	c := d.connect(d.sim, fleet, rate, d.urls...)
	d.heldNow(fleet)
	return c
}

// heldNow waits until the gateway itself says that it holds n chargers; systemd hears of it
// seconds later.
func (d *day) heldNow(n int) {
	d.t.Helper()
	d.until(strconv.Itoa(n)+" chargers", func() bool {
		out, _ := d.try("holdfast status")
		return regexp.MustCompile(`(?m)^connections +` + strconv.Itoa(n) + ` `).MatchString(out)
	})
}

// logged counts the lines of a unit's log that have a text.
func (d *day) logged(unit, text string) int {
	d.t.Helper()
	return strings.Count(d.do("journalctl --no-pager -o cat -u %s", unit), text)
}

// more returns a function that waits until a unit has logged a text once more.
func (d *day) more(unit, text string) (wait func()) {
	d.t.Helper()
	before := d.logged(unit, text)
	return func() {
		d.t.Helper()
		d.until("the log to say "+text, func() bool { return d.logged(unit, text) > before })
	}
}

const (
	recovered = "recovered: the gateway before has died"
	leavesAll = "leaves everything to the keeper"
	restarted = "restarted: the chargers of the gateway before stay"
	keptAgain = "kept: a crash of the gateway drops no charger"
)

// crash signals the main process, and waits until systemd has another one, which has gone
// on with all chargers.
func (d *day) crash(signal string) {
	d.t.Helper()
	before, again := d.mainPID(), d.more("holdfast", recovered)
	d.do("kill -%s %d", signal, before)
	d.replaced(before)
	again()
}

// replaced waits until another process is the gateway, and holds the fleet.
func (d *day) replaced(before int) {
	d.t.Helper()
	d.until("another gateway", func() bool {
		pid := d.property("holdfast", "MainPID")
		return pid != strconv.Itoa(before) && pid != "0" && d.property("holdfast", "SubState") == "running"
	})
	d.another(before)
	d.heldNow(fleet)
	if s := d.status(); !strings.Contains(s, "2 links") {
		d.t.Errorf("the processors have left: %s", s)
	}
}

func (d *day) keeperPID() string {
	d.t.Helper()
	return d.property("holdfast-keeper", "MainPID")
}

// sameKeeper checks that the keeper is the process that it was.
func (d *day) sameKeeper(before string) {
	d.t.Helper()
	if now := d.keeperPID(); now != before || now == "0" {
		d.t.Errorf("the keeper was process %s, and is %s", before, now)
	}
}

// keeperUnit: it runs, survives what others do not, and nobody else can reach it.
func (d *day) keeperUnit() {
	if s := d.do("systemctl is-enabled holdfast-keeper") + " " + d.do("systemctl is-active holdfast-keeper"); s != "enabled active" {
		d.t.Errorf("the keeper is %s", s)
	}
	for path, want := range map[string]string{
		"/run/holdfast-keeper":             "holdfast:holdfast 700",
		"/run/holdfast-keeper/keeper.sock": "holdfast:holdfast 600",
	} {
		if got := d.do("stat -c '%%U:%%G %%a' %s", path); got != want {
			d.t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	// What it has depends on what the container may do.
	if got := d.property("holdfast-keeper", "OOMScoreAdjust"); got != "-900" {
		d.t.Errorf("OOMScoreAdjust: %s", got)
	}
	if out := d.do("holdfast status"); !regexp.MustCompile(`(?m)^\s*keeper\s+up`).MatchString(out) {
		d.t.Errorf("status does not say that the keeper is up:\n%s", out)
	}
	out := d.do("systemd-analyze security --no-pager holdfast-keeper.service")
	m := regexp.MustCompile(`Overall exposure level for holdfast-keeper.service: ([0-9.]+)`).FindStringSubmatch(out)
	if m == nil || len(m[1]) != 3 || m[1] > "1.5" {
		d.t.Errorf("exposure level %q, want at most 1.5:\n%s", m, out)
	}
	d.t.Logf("exposure level of the keeper %q", m)
	if out, _ := d.try("systemd-analyze verify --man=no /lib/systemd/system/holdfast.service /lib/systemd/system/holdfast-keeper.service"); strings.Contains(out, "holdfast") {
		d.t.Errorf("systemd says of the units:\n%s", out)
	}
}

// kill: systemd starts the next process, which goes on.
func (d *day) kill() {
	load, keeper := d.fleet(400), d.keeperPID()
	for range 3 {
		d.crash("KILL")
	}
	load.nothing()
	d.sameKeeper(keeper)
}

// panics: Go ends a program that panics in the same way, and so does systemd's watchdog.
func (d *day) panics() {
	load := d.fleet(400)
	d.crash("ABRT")
	load.nothing()
	for _, text := range []string{"SIGABRT: abort", "status=2"} {
		if d.logged("holdfast", text) == 0 {
			d.t.Errorf("the log does not say of what it has died: no %q", text)
		}
	}
}

// outOfMemory has the kernel kill the gateway for the memory of its cgroup.
func (d *day) outOfMemory() {
	if !strings.Contains(d.do("cat /sys/fs/cgroup/cgroup.controllers"), "memory") {
		// As on machines whose memory controller is that of cgroup v1.
		d.t.Skip("cgroup v2 has no memory controller here: no limit of a unit's memory holds, and nobody is killed for it")
	}
	load := d.fleet(400)
	before, again := d.mainPID(), d.more("holdfast", recovered)
	d.do("systemctl set-property --runtime holdfast MemoryMax=2M")
	d.until("the OOM killer", func() bool {
		_, err := d.try("kill -0 %d", before)
		return err != nil
	})
	d.do("systemctl set-property --runtime holdfast MemoryMax=infinity")
	d.replaced(before)
	again()
	load.nothing()
	if d.logged("holdfast", "OOM killer") == 0 {
		d.t.Error("the log does not name the OOM killer")
	}
}

// restart: to systemd a stop and a start, and chargers stay.
func (d *day) restart() {
	load, keeper := d.fleet(400), d.keeperPID()
	crashes := d.logged("holdfast", recovered)
	for range 6 { // as crashes they would be too many
		before, leaves, restarted := d.mainPID(), d.more("holdfast", leavesAll), d.more("holdfast", restarted)
		d.do("systemctl restart holdfast")
		leaves()
		restarted()
		d.replaced(before)
	}
	load.nothing()
	d.sameKeeper(keeper)
	if d.logged("holdfast", recovered) != crashes {
		d.t.Error("a restart is taken for a crash")
	}
	if result := d.property("holdfast", "Result"); result != "success" {
		d.t.Errorf("restarted with %s", result)
	}
}

// keeperRestart: the next keeper gets everything from the gateway, which serves on.
func (d *day) keeperRestart() {
	load := d.fleet(400)
	before, gone, kept := d.mainPID(), d.more("holdfast", "no keeper: a crash of the gateway would close every charger"), d.more("holdfast", keptAgain)
	d.do("systemctl restart holdfast-keeper")
	gone()
	kept()
	d.same(before)
	d.crash("KILL")
	load.nothing()
}

// keeperKill: the same, when it dies.
func (d *day) keeperKill() {
	load := d.fleet(400)
	before, kept := d.mainPID(), d.more("holdfast", keptAgain)
	d.do("kill -KILL %s", d.keeperPID())
	kept()
	d.same(before)
	d.crash("KILL")
	load.nothing()
}

// keeperReload: another program in the same process, which has everything.
func (d *day) keeperReload() {
	load, keeper := d.fleet(400), d.keeperPID()
	gone := d.logged("holdfast", "no keeper")
	again := d.more("holdfast-keeper", "keeper: goes on with another program")
	d.do("systemctl reload holdfast-keeper")
	again()
	d.until("the keeper to be ready", func() bool { return d.property("holdfast-keeper", "SubState") == "running" })
	d.crash("KILL")
	load.nothing()
	d.sameKeeper(keeper)
	if d.logged("holdfast", "no keeper") != gone {
		d.t.Error("the gateway has lost the keeper")
	}
}

// reloadThenKill: a process that came by an upgrade is kept as well.
func (d *day) reloadThenKill() {
	load := d.fleet(400)
	for range 2 {
		before := d.mainPID()
		d.do("systemctl reload holdfast")
		d.another(before)
		d.crash("KILL")
	}
	// And one that is restarted.
	d.do("systemctl reload holdfast")
	before := d.mainPID()
	d.do("systemctl restart holdfast")
	d.replaced(before)
	load.nothing()
}

// packageThenKill: a newer package replaces both programs, and ends neither process of the
// keeper nor any connection.
func (d *day) packageThenKill() {
	load, keeper, before := d.fleet(400), d.keeperPID(), d.mainPID()
	again, gone := d.more("holdfast-keeper", "keeper: goes on with another program"), d.logged("holdfast", "no keeper")
	d.do("dpkg -i %s", d.deb("1.0.1"))
	again()
	d.another(before)
	d.crash("KILL")
	load.nothing()
	d.sameKeeper(keeper)
	if d.logged("holdfast", "no keeper") != gone {
		d.t.Error("the gateway has lost the keeper")
	}
	// From a package that has no keeper, it is started.
	kept := d.more("holdfast", keptAgain)
	d.do("systemctl stop holdfast-keeper && dpkg -i /e2e/1.0.1.deb")
	kept()
}

// told checks that all chargers were closed with 1012.
func (c *chargers) told() {
	c.m.t.Helper()
	r, told := c.finish(), 0
	for why, n := range r.DroppedWhy {
		if strings.Contains(why, "1012") {
			told += n
		}
	}
	if r.Dropped != fleet || told != fleet {
		c.m.t.Errorf("%d chargers were closed, want %d with 1012: %v", r.Dropped, fleet, r.DroppedWhy)
	}
}

// stopBesideKeeper: a stop is a stop, also of a process that systemd has not started.
func (d *day) stopBesideKeeper() {
	for _, how := range []string{"true", "systemctl reload holdfast"} {
		c, keeper, crashes := d.fleet(0), d.keeperPID(), d.logged("holdfast", recovered)
		d.do("%s && systemctl stop holdfast", how)
		if result := d.property("holdfast", "Result"); result != "success" {
			d.t.Errorf("stopped with %s", result)
		}
		c.told()
		d.sameKeeper(keeper)
		d.until("the keeper to have nothing", func() bool {
			return strings.HasPrefix(d.property("holdfast-keeper", "StatusText"), "keeps 0 connections for nobody")
		})
		d.do("systemctl start holdfast")
		if d.logged("holdfast", recovered) != crashes {
			d.t.Error("a stop is taken for a crash")
		}
		d.until("two processors", func() bool { return strings.Contains(d.status(), "2 links") })
	}
}

// restartUnkept: without a keeper a restart closes all, by the rules.
func (d *day) restartUnkept() {
	c := d.fleet(0)
	gone := d.more("holdfast", "no keeper: a crash of the gateway would close every charger")
	d.do("systemctl stop holdfast-keeper")
	gone()
	before := d.mainPID()
	d.do("systemctl restart holdfast") // which starts the keeper, too
	c.told()
	d.another(before)
	d.do("systemctl is-active holdfast-keeper")
	d.until("two processors", func() bool { return strings.Contains(d.status(), "2 links") })
}

// switchedOff: a reload without the option ends it, and one with it begins anew.
func (d *day) switchedOff() {
	load := d.fleet(400)
	without := regexp.MustCompile(`(?m)^keeper .*$`).ReplaceAllString(d.conf, "")
	if without == d.conf {
		d.t.Fatalf("no keeper in\n%s", d.conf)
	}
	d.write("/etc/holdfast/holdfast.conf", without)
	d.do("systemctl reload holdfast")
	d.until("the keeper to have nothing", func() bool {
		return strings.HasPrefix(d.property("holdfast-keeper", "StatusText"), "keeps 0 connections for nobody")
	})
	d.do("systemctl mask --now holdfast-keeper")
	d.write("/etc/holdfast/holdfast.conf", d.conf)
	d.do("systemctl unmask holdfast-keeper && systemctl start holdfast-keeper")
	kept := d.more("holdfast", keptAgain)
	d.do("systemctl reload holdfast")
	kept()
	d.crash("KILL")
	load.nothing()
}

// anotherGateway beside the first, as operations.md has it, has a keeper of its own.
func (d *day) anotherGateway() {
	_, section, ok := strings.Cut(read(d.t, "../../docs/operations.md"), "\n## Several gateways on one host\n")
	commands := regexp.MustCompile(`(?m)(?:^    .*\n)+`).FindString(section)
	if !ok || commands == "" {
		d.t.Fatal("the page has no such commands")
	}
	d.give("depot.sh", commands)
	d.do("sh /e2e/depot.sh")
	d.write("/etc/holdfast/depot.conf", "listen 127.0.0.1:8889\nprocessors /run/holdfast-depot/processors.sock\nkeeper /run/holdfast-depot-keeper/keeper.sock\n")
	first, keeper := d.mainPID(), d.keeperPID()
	d.do("systemctl daemon-reload && systemctl start holdfast-depot && systemctl is-active holdfast-depot-keeper")
	crash := d.more("holdfast-depot", recovered)
	d.do("systemctl kill --kill-whom=main -s KILL holdfast-depot")
	crash()
	d.until("the depot's gateway", func() bool { return d.property("holdfast-depot", "SubState") == "running" })
	leaves, again := d.more("holdfast-depot", leavesAll), d.more("holdfast-depot", restarted)
	d.do("systemctl restart holdfast-depot")
	leaves()
	again()
	d.same(first)
	d.sameKeeper(keeper)
	d.do("systemctl stop holdfast-depot holdfast-depot-keeper && rm /etc/systemd/system/holdfast-depot*.service /etc/holdfast/depot.conf && systemctl daemon-reload")
}
