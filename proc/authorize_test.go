package proc_test

import (
	"context"
	"testing"

	"holdfast/proc"
	"holdfast/proc/proctest"
)

func TestAuthorize(t *testing.T) {
	gw := proctest.New(t)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	entered, leave := make(chan struct{}), make(chan struct{})
	go func() {
		c := proc.Config{Name: "p", Authorize: func(_ context.Context, a proc.AuthorizeBody) proc.VerdictBody {
			if a.Identity == "slow" {
				close(entered)
				<-leave
			}
			if a.Basic == nil || string(a.Basic.Password) != "\xffsecret" {
				return proc.VerdictBody{Status: 401, Reason: "no"}
			}
			return proc.VerdictBody{Accept: true}
		}}
		done <- c.Run(ctx, gw.Socket(), func(context.Context, *proc.Charger, proc.Message) ([]byte, error) { return nil, nil })
	}()
	v, err := gw.Authorize(t.Context(), proc.AuthorizeBody{Identity: "CP1"})
	if err != nil || v.Accept || v.Refusal() != 401 || v.Reason != "no" {
		t.Errorf("%+v, %v", v, err)
	}
	// One that is slow does not hold up others, and is answered when the
	// processor leaves.
	slow := make(chan proc.VerdictBody, 1)
	right := &proc.BasicBody{Username: []byte("slow"), Password: []byte("\xffsecret")}
	go func() {
		v, err := gw.Authorize(t.Context(), proc.AuthorizeBody{Identity: "slow", Basic: right})
		if err != nil {
			t.Error(err)
		}
		slow <- v
	}()
	<-entered
	if v, err = gw.Authorize(t.Context(), proc.AuthorizeBody{Identity: "CP1", Basic: right}); err != nil || !v.Accept {
		t.Errorf("%+v, %v", v, err)
	}
	stop()
	close(leave)
	if v := <-slow; !v.Accept {
		t.Errorf("%+v", v)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
