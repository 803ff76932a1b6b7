package proc

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"holdfast/proc/proctest"
	"holdfast/unixipc"
)

// Chargers leave nothing behind: no entry, no goroutine.
func TestIdleChargersCostNothing(t *testing.T) {
	const chargers = 10_000
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	gw := proctest.New(t)
	before := runtime.NumGoroutine()
	run, stop := context.WithCancel(ctx)
	c := Config{Name: "p", Concurrency: 8, DrainTimeout: time.Minute, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
	r := newRunner(c, gw.Socket(), func(context.Context, *Charger, Message) ([]byte, error) { return []byte("x"), nil })
	done := make(chan error, 1)
	go func() { done <- r.run(run) }()

	var last []*proctest.Delivery
	for i := range chargers {
		identity := fmt.Sprint("CP", i)
		gw.Open(identity, "")
		last = append(last, gw.Message(identity, []byte("y")))
	}
	for _, d := range last {
		if _, err := d.Reply(ctx); err != nil {
			t.Fatal(err)
		}
	}
	d := r.dispatcher
	waitFor(t, func() bool { // the last worker may still be about to let go
		d.mu.Lock()
		defer d.mu.Unlock()
		return len(d.chargers) == 0 && d.head == nil && d.tail == nil && d.idle == d.started
	})
	if d.started > c.Concurrency {
		t.Errorf("%d workers", d.started)
	}

	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	waitFor(t, func() bool { return runtime.NumGoroutine() <= before })
}

func waitFor(t *testing.T, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			buf := make([]byte, 1<<16)
			t.Fatalf("never came true; goroutines:\n%s", buf[:runtime.Stack(buf, true)])
		}
	}
}

func TestDropForgetsOneLink(t *testing.T) {
	lost, kept := &link{}, &link{}
	d := newDispatcher(0, nil) // no workers: everything stays queued
	deliver := func(l *link, identity string, ref uint64) {
		d.enqueue(nil, []arrival{{[]byte(identity), delivery{link: l, ref: ref, kind: unixipc.Message}}})
	}
	deliver(lost, "A", 1)
	deliver(lost, "A", 2)
	deliver(lost, "B", 1)
	deliver(kept, "A", 3)
	d.drop(lost)
	if a := d.chargers["A"].queue; len(a) != 1 || a[0].ref != 3 {
		t.Errorf("A has %+v", a)
	}
	if b := d.chargers["B"].queue; len(b) != 0 {
		t.Errorf("B has %+v", b)
	}
}

func TestDefaultName(t *testing.T) {
	for program, want := range map[string]string{
		"/usr/bin/billing":            "billing-7",
		"/opt/zähler 2":               "z_hler_2-7",
		"/" + fmt.Sprintf("%070d", 0): fmt.Sprintf("%062d-7", 0),
	} {
		if got := defaultName(program, 7); got != want {
			t.Errorf("%s: %q, want %q", program, got, want)
		}
	}
}

// Every split of a stream gives the same frames.
func TestFrameReaderSplits(t *testing.T) {
	var stream []byte
	for i := range 4 {
		stream = unixipc.Frame{Type: unixipc.Message, Ref: uint64(i), Key: []byte("CP"), Payload: make([]byte, i*i)}.Append(stream)
	}
	long := 3 * readSize
	stream = unixipc.Frame{Type: unixipc.Message, Ref: 4, Payload: make([]byte, long)}.Append(stream)
	stream = unixipc.Frame{Type: unixipc.Message, Ref: 5, Payload: []byte("end")}.Append(stream)
	for cut := range 200 {
		r := frameReader{src: io.MultiReader(&pieces{stream[:cut]}, &pieces{stream[cut:]}), maxPayload: long}
		var refs []uint64
		for {
			f, ok, err := r.next()
			if err != nil {
				t.Fatal(err)
			}
			if ok {
				refs = append(refs, f.Ref)
			} else if err := r.fill(); err == io.EOF {
				break
			}
		}
		if fmt.Sprint(refs) != "[0 1 2 3 4 5]" {
			t.Fatalf("cut at %d: frames %v", cut, refs)
		}
	}
}

// pieces is a reader without WriterTo.
type pieces struct{ b []byte }

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.b) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.b)
	p.b = p.b[n:]
	return n, nil
}
