package crash

import (
	"context"
	"errors"
	"testing"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"holdfast/tests/harness"
)

// TestPoison has a charger send a message of which each gateway dies that handles it: after
// the third, that charger is closed, and nobody else; also if the message came in parts.
func TestPoison(t *testing.T) {
	const chargers = 30
	w := newWorld(t)
	w.Checkproc("a")
	l := w.Load(chargers, 200, harness.Several)
	l.More(50)
	ctx, cancel := context.WithTimeout(t.Context(), harness.Deadline)
	defer cancel()
	for _, parts := range [][]string{{`[2,"1","HOLDFAST-POISON",{}]`}, {`[2,"1","HOLD`, `FAST-POISON",{}]`}} {
		dialer := ws.Dialer{Protocols: []string{"ocpp1.6"}}
		conn, _, _, err := dialer.Dial(ctx, w.URL()+"/POISONER")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for i, part := range parts {
			op := ws.OpText
			if i > 0 {
				op = ws.OpContinuation
			}
			f := ws.MaskFrame(ws.NewFrame(op, i == len(parts)-1, []byte(part)))
			if err := ws.WriteFrame(conn, f); err != nil {
				t.Fatal(err)
			}
		}
		for starts := 1; ; starts++ { // the first two die before they listen
			err := w.Again(ctx)
			if err == nil && starts == 3 {
				break
			}
			if err == nil || starts == 3 {
				t.Fatalf("start %d: %v", starts, err)
			}
		}
		_, err = wsutil.ReadServerText(conn)
		var closed wsutil.ClosedError
		if !errors.As(err, &closed) || closed.Code != 1011 {
			t.Errorf("the poisoner sees %v", err)
		}
		w.Logged(w.Process, "the gateway has died again and again of what a charger sent")
		l.More(50)
	}
	if r := l.Finish(); r.Dropped != 0 {
		t.Errorf("%d others were dropped", r.Dropped)
	}
	if redelivered, _ := w.CheckLedger(l.Wait()); redelivered != 0 {
		t.Errorf("%d redelivered", redelivered)
	}
}
