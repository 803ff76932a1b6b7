package shard

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"holdfast/cmd/holdfast/admin"
	"holdfast/conn"
	"holdfast/relay"
	"holdfast/unixipc"

	"golang.org/x/sys/unix"
)

func shardOf(all []*Shard, identity string) *Shard { return all[relay.LoopOf(identity, len(all))] }

// lateList is a Late that keeps the names of what it receives.
type lateList struct{ names []string }

func (l *lateList) Open(_, fd int, state conn.State, _, _ []byte) {
	l.names = append(l.names, state.Identity)
	_ = unix.Close(fd)
}

func (l *lateList) Join(_, fd int, hello unixipc.HelloBody, _ unixipc.Peer, _ bool, _ []byte) {
	l.names = append(l.names, hello.Name)
	_ = unix.Close(fd)
}

// What becomes ready after a hand-over goes to the other process, and the shard
// neither holds nor answers anything any more.
func TestHandedOver(t *testing.T) {
	r := newRig(t)
	s := r.shards[0]
	late := new(lateList)
	ask(r, s, func() bool { s.HandOver(late); return true })
	r.open(s, "CP-1")
	fd, _ := r.pair()
	s.Loop.Post(func() { s.Join(fd, unixipc.HelloBody{Name: "p"}, unixipc.Peer{}, false, nil) })
	if n := ask(r, s, func() int { return s.Drain("p") }); n != -1 {
		t.Errorf("%d links are drained", n)
	}
	if names := ask(r, s, func() string { return strings.Join(late.names, " ") }); names != "CP-1 p" {
		t.Errorf("late are %q", names)
	}
	if n := ask(r, s, func() int { return s.Loop.Len() + len(s.Links()) }); n != 0 {
		t.Errorf("%d are held", n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := s.Verdict(ctx, unixipc.AuthorizeBody{Identity: "CP-1"}, t.TempDir()+"/admin.sock"); err == nil || !strings.Contains(err.Error(), "ask the process that has taken over") {
		t.Errorf("a verdict: %v", err)
	}
}

// A link moves with what its processor has not acknowledged, and goes on as if
// nothing had happened.
func TestAdoptLink(t *testing.T) {
	r, next := newRig(t), newRig(t)
	from, to := r.shards[0], next.shards[0]
	p := r.join(from, unixipc.HelloBody{Name: "p"}, false)
	type exported struct {
		fd    int
		state []byte
	}
	link := ask(r, from, func() (e exported) {
		for _, l := range from.Links() {
			fd, err := unix.FcntlInt(uintptr(l.FD()), unix.F_DUPFD_CLOEXEC, 3)
			if err != nil {
				t.Error(err)
			}
			e = exported{fd, from.Relay.AppendLink(nil, l.Relay)}
			from.UnadoptLink(l) // as if the process were gone, without a word to its peer
		}
		return e
	})
	if n := ask(r, from, func() int { return len(from.Links()) }); n != 0 {
		t.Errorf("%d links are left", n)
	}
	adopted := ask(next, to, func() *Link {
		l, err := to.AdoptLink(link.fd, link.state)
		if err != nil {
			t.Error(err)
		}
		to.Relay.Activate()
		return l
	})
	if adopted == nil || ask(next, to, adopted.Closed) {
		t.Fatal("the link was not adopted")
	}
	next.open(to, "CP-1")
	if f := p.deliver(unixipc.Opened, ""); string(f.Key) != "CP-1" {
		t.Errorf("%s was opened", f.Key)
	}
	if _, err := Ask(t.Context(), to, func() error {
		_, err := to.AdoptLink(-1, []byte("no link"))
		if err == nil {
			t.Error("a state that is none was adopted")
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// A verdict is that of a processor that gives some.
func TestVerdict(t *testing.T) {
	r := newRig(t)
	s := r.shards[0]
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	body := unixipc.AuthorizeBody{Identity: "CP-1", Subprotocol: "ocpp1.6"}
	nobody, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.Verdict(nobody, body, ""); !errors.Is(err, relay.ErrNoVerdict) {
		t.Errorf("a verdict of nobody: %v", err)
	}
	p := r.join(s, unixipc.HelloBody{Name: "p", Authorize: true}, false)
	go func() {
		f, err := p.next()
		var asked unixipc.AuthorizeBody
		if err != nil || f.Type != unixipc.Authorize || json.Unmarshal(f.Payload, &asked) != nil || asked.Identity != "CP-1" {
			t.Errorf("asked %v %s, %v", f.Type, f.Payload, err)
		}
		verdict, _ := json.Marshal(unixipc.VerdictBody{Status: 404, Reason: "unknown"})
		_, _ = p.Write(unixipc.Frame{Type: unixipc.Verdict, Ref: f.Ref, Payload: verdict}.Append(nil))
	}()
	if v, err := s.Verdict(ctx, body, ""); err != nil || v.Accept || v.Status != 404 || v.Reason != "unknown" {
		t.Errorf("%+v, %v", v, err)
	}
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.Verdict(short, body, ""); err == nil {
		t.Error("a verdict of a processor that is silent")
	}
}

// A question ends with its context, also if the loop does not turn.
func TestAsk(t *testing.T) {
	r := newRig(t)
	s := r.shards[0]
	stuck, thaw := make(chan struct{}), make(chan struct{})
	s.Loop.Post(func() { close(stuck); <-thaw })
	<-stuck
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Ask(ctx, s, func() int { return 1 }); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "loop 0") {
		t.Errorf("%v", err)
	}
	ctx, cancel = context.WithTimeoutCause(t.Context(), time.Millisecond, admin.ErrNoTurn)
	defer cancel()
	if _, err := Ask(ctx, s, func() int { return 1 }); !errors.Is(err, admin.ErrNoTurn) {
		t.Errorf("%v", err)
	}
	close(thaw)
	if n := ask(r, s, func() int { return 1 }); n != 1 {
		t.Errorf("answered %d", n)
	}
}
