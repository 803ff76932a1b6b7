package crash

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/proc"
	"holdfast/tests/harness"
	"holdfast/tests/killat"
	"holdfast/tests/suites"
	"holdfast/tests/wiretap"
)

// killable are programs of which kills do not take ten times as long, even if the test is
// built with -race: the gateway, with the tags of harness.Faulty, and killat.
var killable = sync.OnceValues(func() (b struct{ gateway, killat string }, err error) {
	dir := filepath.Dir(harness.Holdfast()) // harness.Main removes it
	b.gateway, b.killat = filepath.Join(dir, "holdfast-killable"), filepath.Join(dir, "killat")
	tests, err := os.Getwd()
	if err != nil {
		return b, err
	}
	tests = filepath.Dir(tests)
	for _, p := range [][]string{
		{filepath.Dir(tests), "-tags", "holdfast_faults,holdfast_keylog", "-o", b.gateway, "./cmd/holdfast"},
		{tests, "-o", b.killat, "./cmd/killat"},
	} {
		cmd := exec.Command("go", append([]string{"build"}, p[1:]...)...)
		cmd.Dir = p[0]
		if out, err := cmd.CombinedOutput(); err != nil {
			return b, fmt.Errorf("%v: %w\n%s", cmd, err, out)
		}
	}
	return b, nil
})

// transports of chargers, and whether a wiretap stands between.
var transports = []string{"ws", "tls13", "tls12"}

var suiteOf = map[string]suites.Suite{
	"tls13": {Version: tls.VersionTLS13, ID: tls.TLS_AES_128_GCM_SHA256},
	"tls12": {Version: tls.VersionTLS12, ID: tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256},
}

// patience is how long anything may take until it counts as never.
const patience = 20 * time.Second

// rig is a gateway under killat with a keeper, a processor, a caller, and a charger of
// each transport, all idle. Whenever the gateway is killed it is started again, as by a
// service manager.
type rig struct {
	*harness.World
	t        testing.TB
	keeper   *harness.Process
	tap      *wiretap.Tap
	keyLog   string
	ledger   ledgerTail
	caller   *proc.Client
	chargers map[string]*charger // by transport
	run      string              // of message ids
	numbers  int                 // of chargers so far
	listener net.Listener

	mu         sync.Mutex
	tracer     *tracer      // of the last start
	first      killat.Order // for the next one
	started    chan *tracer // gets it, if first is an order
	deaths     int
	restarting bool
	stopRest   context.CancelFunc // a start under way
	broken     error
	idle       *sync.Cond // restarting has become false
	addr       string     // of the gateway that serves, for ws
	addrTLS    string
	logs       []*harness.Process // oldest first
	step       string             // what the exchange is doing
}

// tracer is killat of one start of the gateway.
type tracer struct {
	*killat.Control
	reports chan killat.Report // Armed, Calls, Killed
	step    string             // what was under way when it was killed
}

var errNoPtrace = errors.New("ptrace is not permitted here")

// newRig starts all.
func newRig(t testing.TB) *rig {
	t.Helper()
	b, err := killable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	r := &rig{t: t, chargers: map[string]*charger{}, run: strings.ToLower(rand.Text()[:8]), started: make(chan *tracer, 1)}
	r.idle = sync.NewCond(&r.mu)
	if r.listener, err = net.Listen("unix", filepath.Join(dir, "killat.sock")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.listener.Close() })
	go r.accept()

	keeper := filepath.Join(dir, "keeper.sock")
	if r.keeper, err = harness.Start("keeper", b.gateway, "keep", "-socket", keeper, "-log-format", "json"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.keeper.Kill() })
	harness.Until(t, "the keeper", func() bool { return r.keeper.Log.Contains("keeper: listens") })

	r.keyLog = filepath.Join(dir, "keylog")
	r.World = harness.NewOf(t, harness.Setup{
		Binary: b.killat,
		Env: []string{
			"HOLDFAST_KEYLOG=" + r.keyLog, "HOLDFAST_CRASH_LOOP=yes",
			killat.Socket + "=" + r.listener.Addr().String(), killat.Binary + "=" + b.gateway,
		},
		Args: []string{"-keeper", keeper, "-ping-interval", "1h"},
	})
	r.addr, r.addrTLS, r.logs = r.Addr, r.AddrTLS, []*harness.Process{r.Process}
	if r.tap, err = wiretap.Start(r.AddrTLS); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.tap.Close)
	r.Checkproc("check")
	r.ledger.path = filepath.Join(filepath.Dir(r.Processors), "ledger")
	if r.caller, err = r.dialProcessor("caller"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.caller.Close() })
	for _, transport := range transports {
		to := r.addr
		if transport != "ws" {
			to = r.tap.Addr
		}
		c := r.newCharger(transport)
		if err := c.dial(to, 0); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.nc.Close() })
		r.chargers[transport] = c
		if err := c.message(); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		r.mu.Lock()
		for r.restarting {
			r.idle.Wait()
		}
		r.mu.Unlock()
	})
	if err := r.check(); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) dialProcessor(name string) (*proc.Client, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return proc.Dial(ctx, proc.ClientConfig{Name: name, Socket: r.Processors, Logger: slog.New(slog.DiscardHandler)})
}

// accept takes the connections of killat, one for each start.
func (r *rig) accept() {
	for {
		nc, err := r.listener.Accept()
		if err != nil {
			return
		}
		c := killat.NewControl(nc)
		var hello killat.Report
		if c.Receive(&hello) != nil || hello.Err != "" {
			r.broke(fmt.Errorf("%w: %s", errNoPtrace, hello.Err))
			_ = c.Close()
			continue
		}
		tr := &tracer{Control: c, reports: make(chan killat.Report, 4)}
		r.mu.Lock()
		first := r.first
		r.first, r.tracer = killat.Order{}, tr
		r.mu.Unlock()
		if first != (killat.Order{}) {
			r.started <- tr
		}
		_ = c.Send(first)
		go r.hear(tr)
	}
}

// hear takes what killat reports.
func (r *rig) hear(tr *tracer) {
	for {
		var m killat.Report
		if tr.Receive(&m) != nil || m.Ended {
			_ = tr.Close()
			return
		}
		if m.Err != "" {
			r.broke(fmt.Errorf("%w: %s", errNoPtrace, m.Err))
		}
		if m.Killed != nil {
			r.died(tr)
			_ = tr.Close()
		}
		tr.reports <- m
	}
}

func (r *rig) broke(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.broken == nil {
		r.broken = err
	}
}

// died has the gateway started again.
func (r *rig) died(tr *tracer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deaths++
	tr.step = r.step
	if r.restarting {
		r.stopRest() // that start will not come to an end
		return
	}
	r.restarting = true
	go r.restart()
}

// restart starts the gateway until one serves.
func (r *rig) restart() {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		r.mu.Lock()
		deaths := r.deaths
		r.stopRest = cancel
		r.mu.Unlock()
		err := r.Again(ctx)
		cancel()
		r.mu.Lock()
		if r.logs = append(r.logs, r.Process); len(r.logs) > 4 {
			r.logs = r.logs[1:]
		}
		if r.deaths != deaths { // it was killed meanwhile
			r.mu.Unlock()
			continue
		}
		if err != nil && r.broken == nil {
			r.broken = fmt.Errorf("the gateway does not start: %w", err)
		}
		r.addr, r.addrTLS = r.Addr, r.AddrTLS
		r.restarting = false
		r.idle.Broadcast()
		r.mu.Unlock()
		return
	}
}

// serving waits until the gateway serves, and returns its addresses, and how often it died.
func (r *rig) serving() (addr, addrTLS string, deaths int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.restarting {
		r.idle.Wait()
	}
	return r.addr, r.addrTLS, r.deaths
}

// diedSince reports whether the gateway was killed again; killat's word of it takes a moment.
func (r *rig) diedSince(deaths int) bool {
	for until := time.Now().Add(300 * time.Millisecond); time.Now().Before(until); time.Sleep(time.Millisecond) {
		if _, _, now := r.serving(); now != deaths {
			return true
		}
	}
	return false
}

// at notes what the exchange does next.
func (r *rig) at(step string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.step = step
}

// report waits for the next report.
func (r *rig) report(tr *tracer) (killat.Report, error) {
	select {
	case m := <-tr.reports:
		r.mu.Lock()
		defer r.mu.Unlock()
		return m, r.broken
	case <-time.After(patience):
		r.mu.Lock()
		defer r.mu.Unlock()
		return killat.Report{}, errors.Join(errors.New("killat says nothing"), r.broken)
	}
}

// A point is where the gateway was killed.
type point struct {
	*killat.Killed
	step string
}

func (p point) String() string {
	what := fmt.Sprintf("call %3d, %s no. %d of %s", p.N, p.When, p.Nth, p.Kind())
	if p.Made {
		what += fmt.Sprintf(" = %d", p.Result)
	}
	return what + ", while " + p.step
}

// do runs an exchange, with an order to kill the gateway amid it, and verifies everything.
// It returns where the gateway was killed; nil: the exchange was over before. Without an
// order to kill it returns the calls of the exchange.
func (r *rig) do(x exchange, o killat.Order) (*point, []killat.Call, error) {
	tr, failed, err := r.begin(x, o)
	if err != nil {
		return nil, nil, err
	}
	return r.finish(tr, failed)
}

// begin runs an exchange, under an order. failed is what went wrong then.
func (r *rig) begin(x exchange, o killat.Order) (tr *tracer, failed, err error) {
	if err := x.prepare(r); err != nil {
		return nil, nil, fmt.Errorf("before it: %w", err)
	}
	r.mu.Lock()
	tr = r.tracer
	r.mu.Unlock()
	if err := tr.Send(o); err != nil {
		return nil, nil, err
	}
	if m, err := r.report(tr); err != nil || !m.Armed {
		return nil, nil, fmt.Errorf("not armed: %+v: %w", m, err)
	}
	return tr, x.run(r), nil
}

// finish ends what was ordered, and verifies everything.
func (r *rig) finish(tr *tracer, failed error) (at *point, calls []killat.Call, err error) {
	r.mu.Lock()
	step := r.step
	r.mu.Unlock()
	if failed == nil {
		r.at("nothing is to be done any more")
		time.Sleep(3 * time.Millisecond) // what follows behind the last byte counts, too
	}
	_ = tr.Send(killat.Order{When: killat.Stop}) // it does not answer if it kills
	for {
		m, err := r.report(tr)
		if m.Killed != nil {
			at = &point{m.Killed, tr.step}
			break
		}
		if err != nil {
			return nil, nil, errors.Join(failed, err)
		}
		if !m.Armed {
			calls = m.Calls
			break
		}
	}
	r.serving()
	if at != nil && failed == nil {
		failed = r.rests()
	}
	if failed != nil {
		return at, calls, fmt.Errorf("while %s: %w", step, failed)
	}
	return at, calls, r.check()
}

// rests verifies that a gateway with nothing to do does nothing.
func (r *rig) rests() error {
	const look = 4 * time.Millisecond
	pid, err := r.CurrentPid()
	if err != nil {
		return err
	}
	var used time.Duration
	for range 40 { // Go's runtime may have something to do for a while
		from, before := time.Now(), runtimeOf(pid)
		time.Sleep(look)
		if used = runtimeOf(pid) - before; used < time.Since(from)/4 {
			return nil
		}
	}
	return fmt.Errorf("the gateway spins: it has nothing to do and takes %v of CPU each %v", used, look)
}

// runtimeOf is what all threads of a process have run.
func runtimeOf(pid int) (sum time.Duration) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, f := range files {
		b, _ := os.ReadFile(f)
		var ns time.Duration
		_, _ = fmt.Sscan(string(b), &ns)
		sum += ns
	}
	return sum
}

// check verifies that nothing was lost, repeated or closed.
func (r *rig) check() error {
	r.serving()
	for _, transport := range transports {
		if err := r.chargers[transport].alive(); err != nil {
			return fmt.Errorf("afterwards: the charger of %s: %w", transport, err)
		}
	}
	if err := r.ledger.check(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.logs {
		for _, l := range p.Log.Lines() {
			if level := l.String("level"); level == "ERROR" || level == "" && strings.Contains(l.Text, "panic") {
				return fmt.Errorf("the gateway logs %s", l.Text)
			}
			if l.Fields["lost"] != nil && l.Fields["lost"] != 0.0 {
				return fmt.Errorf("the gateway logs %s", l.Text)
			}
		}
	}
	return r.broken
}

// story is the logs, for a fault.
func (r *rig) story() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	for _, p := range r.logs {
		fmt.Fprintf(&b, "gateway, killat's process %d:\n%s", p.Pid(), p.Log.Tail(30))
	}
	fmt.Fprintf(&b, "keeper:\n%s", r.keeper.Log.Tail(20))
	return b.String()
}
