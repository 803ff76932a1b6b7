package relay

import (
	"encoding/json"
	"strings"
	"testing"

	"holdfast/unixipc"
)

// opened takes the OPENED that l is sent, and acknowledges it with payload.
func (l *stageLink) opened(payload string) (body unixipc.OpenedBody) {
	l.s.t.Helper()
	in := l.Unwritten()
	for len(in) > 0 {
		f, n, err := unixipc.Parse(in, 1<<20)
		if err != nil || n == 0 {
			l.s.t.Fatal("no frame", err)
		}
		if in = in[n:]; f.Type != unixipc.Opened {
			continue
		}
		if err := json.Unmarshal(f.Payload, &body); err != nil {
			l.s.t.Fatal(err)
		}
		ack := unixipc.Frame{Type: unixipc.Ack, Ref: f.Ref, Key: append([]byte(nil), f.Key...), Payload: []byte(payload)}
		l.r.Wrote(l.Link, len(l.Unwritten())-len(in))
		l.order(ack)
		return body
	}
	l.s.t.Fatal("no OPENED")
	return body
}

// refusal takes the detail of the one RESULT that l is sent.
func (l *stageLink) refusal() (detail string) {
	for _, f := range l.frames() {
		var body unixipc.ResultBody
		if _ = json.Unmarshal(f.Payload, &body); f.Type == unixipc.Result && f.Flags == unixipc.ForDelivery && body.Status == unixipc.StatusRefused {
			detail += body.Detail
		}
	}
	return detail
}

// A note is shown to the next owner, and to whoever is asked about the charger; what is no
// note costs a RESULT, and no more.
func TestNote(t *testing.T) {
	s := newStage(t, 1)
	first := s.join(0, unixipc.HelloBody{Name: "first", Authorize: true}, false)
	c := s.open(0)
	if body := first.opened(`{"note":"aGVyZQ=="}`); body.Note != nil {
		t.Errorf("a new charger has the note %q", body.Note)
	}
	first.r.Lost(first.Link)
	second := s.join(0, unixipc.HelloBody{Name: "second", Authorize: true}, false)
	long, _ := json.Marshal(unixipc.AckBody{Note: make([]byte, unixipc.MaxNote+1)})
	if body := second.opened(string(long)); !body.Moved || string(body.Note) != "here" {
		t.Errorf("the next owner is shown %+v", body)
	}
	if got := second.refusal(); !strings.Contains(got, "a note of 1025 bytes; at most 1024") {
		t.Errorf("a note that is too long gets %s", got)
	}
	s.asking(c.identity, "ocpp1.6", 1e9)
	var asked unixipc.AuthorizeBody
	for _, f := range second.frames() {
		_ = json.Unmarshal(f.Payload, &asked)
	}
	if string(asked.Note) != "here" {
		t.Errorf("AUTHORIZE shows the note %q", asked.Note)
	}
	second.r.Lost(second.Link)
	third := s.join(0, unixipc.HelloBody{Name: "third", Authorize: true}, false)
	if body := third.opened(`[3,"a",{}]`); string(body.Note) != "here" {
		t.Errorf("after a note that was refused it is %q", body.Note)
	}
	if got := third.refusal(); !strings.Contains(got, "OPENED takes no reply") {
		t.Errorf("a reply to OPENED gets %s", got)
	}
	s.asking(c.identity, "ocpp1.6", 1e9)
	long, _ = json.Marshal(unixipc.VerdictBody{Accept: true, Note: make([]byte, unixipc.MaxNote+1)})
	third.verdict(1, string(long))
	if why, ended := third.Ended(); !ended || !strings.Contains(why, "VERDICT with a note of 1025 bytes") {
		t.Errorf("a VERDICT with a note that is too long: %q", why)
	}
	s.relays[0].Closed(c.Charger, unixipc.ClosedBody{})
	last := s.join(0, unixipc.HelloBody{Name: "last"}, false)
	if body := last.opened(""); !body.Gone || string(body.Note) != "here" {
		t.Errorf("of a charger that has gone is shown %+v", body)
	}
	_ = last.frames()
	if n := len(s.relays[0].notes); n != 0 || s.relays[0].Chargers() != 0 {
		t.Errorf("%d notes are left of %d chargers", n, s.relays[0].Chargers())
	}
}
