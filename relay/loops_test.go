package relay

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"holdfast/unixipc"
)

// loopCall is a CALL from one loop to a charger of another, or the same.
type loopCall struct {
	asker   *stageLink
	results int
}

// TestCallsBetweenLoops makes calls across loops whose messages to each other
// wait, while askers die and chargers go: each CALL has one RESULT while its
// asker lives, with the answer to it and to no other; and no answer is lost: what
// no asker gets the owner does.
func TestCallsBetweenLoops(t *testing.T) {
	answers, lates := 0, 0
	for seed := range uint64(100) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		s := newStage(t, 3)
		var owners, askers []*stageLink
		var chargers []*stageCharger
		for loop := range s.relays {
			owners = append(owners, s.join(loop, unixipc.HelloBody{Name: "owner", Window: 1000}, false))
			askers = append(askers, s.join(loop, askOnly, false), s.join(loop, askOnly, false))
			chargers = append(chargers, s.open(loop))
		}
		calls := map[uint64]*loopCall{}
		answered := map[string]bool{} // by id of what chargers have answered: whether somebody has got it
		token := uint64(0)
		read := func() {
			for _, l := range slices.Concat(owners, askers) {
				for _, f := range l.frames() {
					switch {
					case f.Type == unixipc.Message:
						id := idOf(t, f.Payload)
						if got, known := answered[id]; got || !known {
							t.Errorf("the owner gets %s, which somebody had", f.Payload)
						}
						answered[id] = true
						lates++
					case f.Type == unixipc.Result:
						k := calls[f.Ref]
						if k.results++; k.results > 1 || k.asker != l {
							t.Errorf("RESULT %d: its %d.", f.Ref, k.results)
						}
						if _, message, ok := unixipc.ParseAnswer(f.Payload); ok && f.Flags&unixipc.Answered != 0 {
							if id := idOf(t, message); id != fmt.Sprint("call ", f.Ref) || answered[id] {
								t.Errorf("RESULT %d has %s", f.Ref, message)
							} else {
								answered[id] = true
							}
							answers++
						}
					}
				}
			}
		}
		for range 150 {
			switch c := chargers[rnd.IntN(len(chargers))]; rnd.IntN(10) {
			case 0, 1, 2:
				l := askers[rnd.IntN(len(askers))]
				token++
				calls[token] = &loopCall{asker: l}
				l.r.Receive(l.Link, unixipc.Frame{
					Type: unixipc.Call, Ref: token, Key: []byte(c.identity),
					Payload: unixipc.AppendCall(nil, 2*time.Second, fmt.Appendf(nil, `[2,"call %d","Reset",{}]`, token)),
				}.Append(nil))
			case 3, 4, 5:
				if heard := s.sent[c.conn]; len(heard) > 0 {
					id := idOf(t, []byte(heard[0]))
					s.sent[c.conn] = heard[1:]
					answered[id] = false
					c.r.Message(c.Charger, fmt.Appendf(nil, `[3,%q,{}]`, id), 0, false)
				}
			case 6:
				if rnd.IntN(5) == 0 {
					i := rnd.IntN(len(askers))
					askers[i].r.Lost(askers[i].Link)
					loop := askers[i].r.cfg.Loop
					askers[i] = s.join(loop, askOnly, false)
				}
			case 7:
				s.now = s.now.Add(time.Duration(rnd.IntN(600)) * time.Millisecond)
				for _, r := range s.relays {
					r.SetNow(s.now)
					r.Tick()
				}
			default:
				if len(s.posted) > 0 {
					f := s.posted[0]
					s.posted = s.posted[1:]
					f()
				}
			}
			if rnd.IntN(4) == 0 {
				read()
			}
		}
		s.run()
		s.advance(time.Minute)
		for range 20 { // deliveries by windows
			read()
		}
		for ref, k := range calls {
			if _, dead := k.asker.Ended(); !dead && k.results != 1 {
				t.Errorf("CALL %d has %d results", ref, k.results)
			}
		}
		for id, got := range answered {
			var ref uint64
			_, _ = fmt.Sscanf(id, "call %d", &ref)
			// An asker that died may have had it among what it did not read.
			if _, dead := calls[ref].asker.Ended(); !got && !dead {
				t.Errorf("the answer to %q is nobody's", id)
			}
		}
		for _, r := range s.relays {
			if len(r.deadlines) > 0 {
				t.Errorf("%d calls are left", len(r.deadlines))
			}
		}
		if t.Failed() {
			t.Fatalf("schedule %d failed", seed)
		}
	}
	t.Logf("%d answers, %d of them late", answers+lates, lates)
}

func idOf(t *testing.T, message []byte) (id string) {
	t.Helper()
	var parts []json.RawMessage
	if json.Unmarshal(message, &parts) != nil || len(parts) < 2 || json.Unmarshal(parts[1], &id) != nil {
		t.Fatalf("%q", message)
	}
	return id
}
