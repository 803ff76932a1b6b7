package relay

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"holdfast/unixipc"
)

// asking asks whether a charger may come in; what becomes of it stands in *verdict.
func (s *stage) asking(identity, subprotocol string, limit time.Duration) (verdict *string) {
	verdict = new(string)
	s.relays[0].Authorize(unixipc.AuthorizeBody{Identity: identity}, subprotocol, s.now.Add(limit), func(v unixipc.VerdictBody, err error) {
		if *verdict != "" {
			s.t.Error("two verdicts")
		}
		*verdict = fmt.Sprint(v.Accept, v.Refusal(), err)
	})
	return verdict
}

func (l *stageLink) questions() (refs []uint64) {
	for _, f := range l.frames() {
		if f.Type == unixipc.Authorize {
			var body unixipc.AuthorizeBody
			if json.Unmarshal(f.Payload, &body) != nil || body.Identity == "" {
				l.s.t.Errorf("%s", f.Payload)
			}
			refs = append(refs, f.Ref)
		}
	}
	return refs
}

func (l *stageLink) verdict(ref uint64, body string) {
	l.order(unixipc.Frame{Type: unixipc.Verdict, Ref: ref, Payload: []byte(body)})
}

func TestAuthorize(t *testing.T) {
	s := newStage(t, 1)
	early := s.asking("CP1", "ocpp1.6", time.Second)
	s.join(0, unixipc.HelloBody{Name: "owner"}, false)
	s.join(0, unixipc.HelloBody{Name: "other", Authorize: true, Subprotocols: []string{"ocpp2.1"}}, false)
	a := s.join(0, unixipc.HelloBody{Name: "a", Authorize: true, Subprotocols: []string{"ocpp1.6"}}, false)
	b := s.join(0, unixipc.HelloBody{Name: "b", Authorize: true, AskOnly: true, Subprotocols: []string{"ocpp1.6"}}, false)
	if fmt.Sprint(a.questions(), b.questions()) != "[1] []" {
		t.Error("the first to come is not asked what waits")
	}
	a.verdict(2, `{"accept":true}`) // nobody asked that
	a.verdict(1, `{"accept":true}`)
	a.verdict(1, `{"accept":false}`)
	s.want("accepted", *early, "true 403 <nil>")

	var verdicts []*string
	for i := range 20 {
		verdicts = append(verdicts, s.asking(fmt.Sprint("CP", i), "ocpp1.6", time.Second))
	}
	of := a.questions()
	if got := b.questions(); len(got)+len(of) != 20 || len(got) < 3 || len(of) < 3 {
		t.Errorf("%d and %d are asked", len(of), len(got))
	}
	// One that dies, and one that leaves: those it has it answers.
	b.r.Lost(b.Link)
	if of = append(of, a.questions()...); len(of) != 20 {
		t.Errorf("%d are asked", len(of))
	}
	a.order(unixipc.Frame{Type: unixipc.Drain})
	last := s.asking("CP99", "ocpp1.6", time.Second)
	for i, ref := range of[:19] {
		a.verdict(ref, []string{`{"accept":true}`, `{"status":404}`, ``, `{"status":200}`}[i%4])
	}
	s.want("while there is one left", a.received(), "")
	a.verdict(of[19], "{}")
	s.want("at the end", a.received(), "DRAINED")
	kinds := map[string]int{}
	for _, s := range verdicts {
		kinds[*s]++
	}
	if fmt.Sprint(kinds) != "map[false 403 <nil>:10 false 404 <nil>:5 true 403 <nil>:5]" {
		t.Errorf("%v", kinds)
	}
	s.advance(999 * time.Millisecond)
	s.want("before its deadline", *last, "")
	s.advance(time.Millisecond)
	s.want("nobody to ask", *last, "false 403 "+ErrNoVerdict.Error())

	moved := s.asking("CP99", "ocpp1.6", time.Second)
	s.relays[0].MoveQuestions()
	s.want("handed over", *moved, "false 403 "+ErrMoved.Error())
	if len(s.relays[0].questions) > 0 {
		t.Error("questions are left")
	}
}

// A processor that an operator has drained, and undrains, is asked again, and has its
// share of the chargers; one that asked for DRAIN itself is left alone, also if an
// operator had drained it before.
func TestUndrain(t *testing.T) {
	s := newStage(t, 1)
	a := s.join(0, unixipc.HelloBody{Name: "a", Authorize: true}, false)
	r := s.relays[0]
	if r.Undrain(a.Link) {
		t.Error("undrained, though it was not drained")
	}
	r.Drain(a.Link)
	s.asking("CP1", "ocpp1.6", time.Minute)
	c := s.open(0)
	s.run()
	if got := a.questions(); len(got) > 0 || a.Chargers() > 0 {
		t.Errorf("drained, it is asked %v, and owns %d chargers", got, a.Chargers())
	}
	// Also behind an upgrade.
	b, err := parseLink(r.AppendLink(nil, a.Link))
	if err != nil || b.retired != retiredAuthorizer {
		t.Errorf("%+v, %v", b, err)
	}
	if !r.Undrain(a.Link) || r.Undrain(a.Link) {
		t.Error("not undrained once")
	}
	s.advance(time.Millisecond)
	if got := a.questions(); len(got) != 1 || a.Chargers() != 1 || c.owner != a.Link {
		t.Errorf("undrained, it is asked %v, and owns %d chargers", got, a.Chargers())
	}
	r.Drain(a.Link)
	a.order(unixipc.Frame{Type: unixipc.Drain})
	if r.Undrain(a.Link) {
		t.Error("a processor that is about to stop was undrained")
	}
}

func TestVerdictFaults(t *testing.T) {
	for _, h := range []unixipc.HelloBody{{Name: "p"}, {Name: "p", Authorize: true}} {
		s := newStage(t, 1)
		l := s.join(0, h, false)
		s.asking("CP1", "x", time.Second)
		l.questions()
		l.verdict(1, `{"accept":1}`)
		if _, ended := l.Ended(); !ended {
			t.Errorf("%+v: a VERDICT that cannot be is taken", h)
		}
	}
}
