package sim

import (
	"encoding/json"
	"testing"
	"time"
)

func TestParseMessage(t *testing.T) {
	for _, c := range []struct {
		in   string
		kind byte
		id   string
		rest string
		ok   bool
	}{
		{`[3,"a.1.2",{"status":"Accepted"}]`, typeCallResult, "a.1.2", `,{"status":"Accepted"}]`, true},
		{" [ 2 , \"x\" ,\n\"Reset\",{}]", typeCall, "x", ",\n\"Reset\",{}]", true},
		{`[4,"a\"b","InternalError","",{}]`, typeCallError, `a\"b`, `,"InternalError","",{}]`, true},
		{`[3,"a",{}`, 0, "", "", false},
		{`[3,"a"]`, 0, "", "", false},
		{`[5,"a",{}]`, 0, "", "", false},
		{`[3,7,{}]`, 0, "", "", false},
		{`{}`, 0, "", "", false},
		{``, 0, "", "", false},
	} {
		m, ok := parseMessage([]byte(c.in))
		if ok != c.ok {
			t.Errorf("%q: ok is %v", c.in, ok)
		}
		if ok && (m.kind != c.kind || string(m.id) != c.id || string(m.rest) != c.rest) {
			t.Errorf("%q: got %c, %q, %q", c.in, m.kind, m.id, m.rest)
		}
	}
}

func TestMessageID(t *testing.T) {
	want := MessageID{Run: "9f0c2a11", Charger: 42, Seq: 7}
	if got, ok := ParseMessageID(want.String()); !ok || got != want {
		t.Fatalf("got %v, %v", got, ok)
	}
	for _, s := range []string{"", "a", "a.1", "a.x.1", "a.1.x", "a.-1.1"} {
		if _, ok := ParseMessageID(s); ok {
			t.Errorf("%q parsed", s)
		}
	}
}

func TestLivesAreJSON(t *testing.T) {
	for _, subprotocol := range []string{"ocpp1.6", "ocpp2.0.1"} {
		l, err := lifeFor(subprotocol)
		if err != nil {
			t.Fatal(err)
		}
		s := story{life: l}
		for i := range 3 * (len(l.boot) + len(l.cycle)) {
			b := s.tell(nil, MessageID{Run: "r", Seq: uint32(i)}, time.Now())
			if m, ok := parseMessage(b); !ok || m.kind != typeCall || !json.Valid(b) {
				t.Fatalf("%s", b)
			}
		}
	}
}
