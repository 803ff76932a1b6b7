package relay

import (
	"slices"
	"testing"
	"time"

	"holdfast/unixipc"
)

// FuzzReceive has a processor send whatever it likes, and a charger too: the
// relay keeps its books, and lets go of everything in the end.
func FuzzReceive(f *testing.F) {
	frame := func(t unixipc.Type, ref uint64, key string, payload []byte) []byte {
		return unixipc.Frame{Type: t, Ref: ref, Key: []byte(key), Payload: payload}.Append(nil)
	}
	call := unixipc.AppendCall(nil, time.Second, []byte(`[2,"a","Reset",{}]`))
	f.Add(frame(unixipc.Call, 1, "CP1", call), []byte(`[3,"a",{}]`), true)
	f.Add(append(frame(unixipc.Call, 1, "CP1", call), frame(unixipc.Drain, 0, "", nil)...), []byte(`[4,"a","","",{}]`), false)
	f.Add(frame(unixipc.Tap, 1, "", []byte(`{"glob":"C*"}`)), []byte(`[2,"a","Heartbeat",{}]`), true)
	f.Add(append(frame(unixipc.Watch, 1, "", []byte(`{"glob":"*"}`)), frame(unixipc.Stop, 1, "", nil)...), []byte("x"), false)
	f.Add(frame(unixipc.Verdict, 1, "", []byte(`{"accept":true}`)), []byte("x"), false)
	f.Add(frame(unixipc.Ack, 1, "CP1", []byte("hi")), []byte(""), false)
	f.Add(frame(unixipc.Nack, 2, "CP1", []byte(`{"retry_after_ms":5}`)), []byte("x"), false)
	f.Fuzz(func(t *testing.T, orders, message []byte, operator bool) {
		s := newStage(t, 1)
		r := s.relays[0]
		c := r.Opened("CP1", "ocpp1.6", 1, nil)
		l := r.Join(unixipc.HelloBody{Name: "p", Authorize: true}, operator)
		asked := 0
		r.Authorize(unixipc.AuthorizeBody{Identity: "CP2"}, "ocpp1.6", s.now.Add(time.Minute), func(unixipc.VerdictBody, error) { asked++ })
		m := &model{t: t, r: r}
		for piece := range slices.Chunk(orders, 7) {
			r.Receive(l, piece)
		}
		m.check()
		r.Message(c, message, 0, false)
		m.check()
		s.advance(time.Second)
		m.check()
		b := r.AppendCharger(nil, c)
		if _, err := parsed(r, b); err != nil {
			t.Fatalf("what it comes to could not be handed over: %v", err)
		}
		if _, ended := l.Ended(); !ended {
			if _, err := parseLink(r.AppendLink(nil, l)); err != nil {
				t.Fatalf("the link could not be handed over: %v", err)
			}
		}
		r.Lost(l)
		r.Closed(c, unixipc.ClosedBody{})
		s.advance(time.Hour)
		m.check()
		if len(r.deadlines) > 0 || asked != 1 {
			t.Fatalf("%d calls are left, %d verdicts", len(r.deadlines), asked)
		}
	})
}
