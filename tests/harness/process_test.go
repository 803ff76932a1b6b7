package harness

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func TestProcessLogsAndEnds(t *testing.T) {
	p, err := Start("shell", "/bin/sh", "-c", `echo plain; echo '{"msg":"listening","addr":"a:1"}' >&2; cat`)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	l, err := p.WaitLog(soon(t), "listening", func(l Line) bool { return l.Msg() == "listening" })
	if err != nil || l.String("addr") != "a:1" || !p.Log.Contains("plain") {
		t.Fatalf("%v, %+v", err, l)
	}
	if _, err := p.WaitLog(soon(t), "what is never said", func(l Line) bool { return l.Msg() == "no" }); err == nil {
		t.Fatal("cat does not end on /dev/null?")
	}
	if err := p.Terminate(soon(t)); err != nil {
		t.Fatalf("it ended by itself: %v", err)
	}
}

func TestOnlyOurs(t *testing.T) {
	p, err := Start("sleep", "/bin/sleep", "60")
	if err != nil {
		t.Fatal(err)
	}
	// Start returns when exec closed its files, a moment before the environment is there.
	Until(t, "a process of ours to be known", func() bool { return ours(p.Pid()) })
	if ours(1) || ours(os.Getpid()) {
		t.Error("a process of others is taken for ours")
	}
	if err := p.Kill(); err != nil || !killed(p) || ours(p.Pid()) {
		t.Errorf("%v, killed: %v", err, killed(p))
	}
}

// A process whose parent ended, as a gateway's after an upgrade, is waited for.
func TestOrphansAreAdopted(t *testing.T) {
	if err := adoptOrphans(); err != nil {
		t.Fatal(err)
	}
	p, err := Start("shell", "/bin/sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!")
	if err != nil {
		t.Fatal(err)
	}
	l, err := p.WaitLog(soon(t), "a pid", func(l Line) bool { return l.Text != "" })
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(l.Text))
	if err != nil {
		t.Fatal(err)
	}
	<-p.Exited()
	Until(t, "the orphan to be ours", func() bool { return ours(pid) })
	if gone(pid) {
		t.Fatal("gone already")
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	Until(t, "the orphan's end", func() bool { return gone(pid) })
}

func TestProcfs(t *testing.T) {
	if pss, err := PSS(os.Getpid()); err != nil || pss < 1<<20 {
		t.Errorf("PSS %d, %v", pss, err)
	}
	if n, err := Files(os.Getpid()); err != nil || n < 3 {
		t.Errorf("%d files, %v", n, err)
	}
	Until(t, "10 ms of CPU time", func() bool {
		cpu, err := CPUTime(os.Getpid())
		return err == nil && cpu >= clockTick
	})
}
