package proc_test

import (
	"context"
	"errors"
	"testing"

	"holdfast/proc"
	"holdfast/proc/proctest"
)

// A note that one processor leaves is shown to the next, and by whom a charger is
// taken over is no secret to the one that had it.
func TestNote(t *testing.T) {
	ctx, gw := testContext(t), proctest.New(t)
	opened, moved := make(chan proc.OpenedBody, 10), make(chan string, 10)
	failed := make(chan error, 1)
	leave := func(note []byte) proc.Config {
		return proc.Config{
			OpenedNote: func(_ context.Context, _ *proc.Charger, o proc.OpenedBody) ([]byte, error) {
				opened <- o
				return note, nil
			},
			Moved:       func(_ context.Context, ch *proc.Charger, _ error) { moved <- ch.Identity() },
			ReplyFailed: func(_ context.Context, _ *proc.Charger, _ uint64, err error) { failed <- err },
			Authorize: func(_ context.Context, a proc.AuthorizeBody) proc.VerdictBody {
				return proc.VerdictBody{Accept: true, Note: append([]byte("by verdict, after "), a.Note...)}
			},
		}
	}
	stop := start(t, gw, leave([]byte("tenant 7")), echo)
	gw.Open("CP1", "ocpp1.6")
	if o := receive(t, ctx, opened); o.Note != nil {
		t.Errorf("a new charger has the note %q", o.Note)
	}
	if got := call(t, ctx, gw, "CP1", ""); got != "re:" {
		t.Error(got)
	}
	if got := gw.Note("CP1"); string(got) != "tenant 7" {
		t.Errorf("the gateway has the note %q", got)
	}
	done := make(chan error, 1)
	go func() { done <- stop() }()
	if got := receive(t, ctx, moved); got != "CP1" {
		t.Error("moved is", got)
	}
	if err := receive(t, ctx, done); err != nil {
		t.Error(err)
	}
	stop = start(t, gw, leave(make([]byte, 1025)), echo)
	gw.Message("CP1", nil)
	if o := receive(t, ctx, opened); !o.Moved || string(o.Note) != "tenant 7" {
		t.Errorf("the next processor is shown %+v", o)
	}
	if err := receive(t, ctx, failed); err == nil || !errors.As(err, new(*proc.RefusedError)) {
		t.Errorf("a note that is too long: %v", err)
	}
	if v, err := gw.Authorize(ctx, proc.AuthorizeBody{Identity: "CP1"}); err != nil || string(v.Note) != "by verdict, after tenant 7" {
		t.Errorf("%+v, %v", v, err)
	}
	gw.CloseCharger("CP1", 1000, "")
	gw.Open("CP1", "ocpp1.6")
	for {
		if o := receive(t, ctx, opened); !o.Moved {
			if string(o.Note) != "by verdict, after tenant 7" {
				t.Errorf("a charger that came again is shown as %+v", o)
			}
			break
		}
	}
	_ = stop()
}
