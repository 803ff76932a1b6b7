package relay

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unique"

	"holdfast/unixipc"
	"holdfast/unixipc/tlv"
)

var codecNow = time.Unix(1_700_000_000, 123_456_789)

// nobody is a gateway without chargers.
type nobody struct{ t *testing.T }

func (nobody) Send(uint64, []byte, bool) (uint64, unixipc.Status) { return 0, unixipc.StatusClosed }
func (nobody) Close(uint64, unixipc.CloseBody, string)            {}
func (nobody) Pause(uint64)                                       {}
func (nobody) Resume(uint64)                                      {}
func (nobody) Describe(uint64) unixipc.OpenedBody                 { return unixipc.OpenedBody{} }
func (nobody) LinkReady(*Link)                                    {}
func (nobody) Forward(int, func(*Relay))                          {}
func (nobody) NotTaken(string, int)                               {}
func (nobody) Poison(string, []byte, int)                         {}
func (nobody) GivenBackAgain(string, string, int, time.Duration)  {}
func (nobody) Called(string, unixipc.Status, time.Duration)       {}

func codecRelay(t *testing.T) *Relay {
	r := New(modelConfig, nobody{t})
	r.SetNow(codecNow)
	return r
}

// entries makes a queue.
func entries(change func(*queue), list ...entry) *queue {
	q := new(queue)
	for i, e := range list {
		payload := fmt.Sprintf(`[2,"%d","Heartbeat",{}]`, i)
		if e.kind == 0 {
			e.kind = unixipc.Message
		}
		if e.kind == unixipc.Closed || e.moved {
			payload = ""
		}
		if e.number != 0 && e.at.IsZero() {
			e.at = codecNow
		}
		q.push(e, []byte(payload))
	}
	if change != nil {
		change(q)
	}
	return q
}

func ago(d time.Duration) time.Time { return codecNow.Add(-d) }

// chargerSamples are one charger of every kind. Their names are those of the
// golden files in testdata, which stay for ever.
var chargerSamples = []struct {
	name string
	c    Charger // but for identity, subprotocol and inFlight
}{
	{"idle", Charger{owner: &Link{id: 3}, number: 12345, session: 2, connected: true}},
	{"alone", Charger{session: 1, connected: true}},
	{"to-be-announced", Charger{owner: &Link{id: 3}, number: 7, session: 2, connected: true, announce: true}},
	{"opened", Charger{session: 1, connected: true, q: entries(nil, entry{kind: unixipc.Opened, sub: "ocpp1.6", session: 1})}},
	{"in-flight", Charger{owner: &Link{id: 1 << 31}, number: 9, session: 1, attempts: 2, connected: true, q: entries(nil,
		entry{number: 8, session: 1, at: ago(1500 * time.Millisecond)}, entry{number: 9, session: 1, flags: unixipc.Binary | unixipc.Redelivered}, entry{session: 1})}},
	{"moving", Charger{owner: &Link{id: 3}, number: 2, session: 1, connected: true, moving: true, q: entries(nil, entry{number: 2, session: 1}, entry{session: 1})}},
	{"acknowledged-behind", Charger{owner: &Link{id: 3}, number: 4, session: 1, connected: true, q: entries(nil,
		entry{number: 1, session: 1}, entry{acked: true, session: 1}, entry{number: 3, session: 1}, entry{acked: true, session: 1})}},
	{"announced", Charger{owner: &Link{id: 3}, number: 4, session: 3, connected: true, q: entries(nil,
		entry{kind: unixipc.Opened, moved: true, number: 4, session: 3}, entry{session: 1, flags: unixipc.Redelivered}, entry{kind: unixipc.Closed, session: 1}, entry{kind: unixipc.Opened, sub: "ocpp2.0.1", session: 3})}},
	{"held", Charger{owner: &Link{id: 3}, number: 4, session: 1, connected: true, moving: true, q: entries(func(q *queue) {
		q.held, q.avoid, q.notBefore = true, 3, codecNow.Add(90*time.Second)
	}, entry{session: 1, flags: unixipc.Redelivered}, entry{number: 4, session: 1})}},
	{"held-nothing", Charger{owner: &Link{id: 3}, number: 4, session: 1, connected: true, announce: true, q: entries(func(q *queue) { q.held, q.avoid = true, 3 })}},
	{"avoiding", Charger{owner: &Link{id: 4}, number: 4, session: 1, connected: true, q: entries(func(q *queue) { q.avoid = 3 }, entry{number: 4, session: 1})}},
	{"paused", Charger{session: 1, connected: true, paused: pausedByQueue, q: entries(nil, entry{session: 1}, entry{session: 1}, entry{session: 1})}},
	{"offline", Charger{session: 5, q: entries(nil, entry{session: 5}, entry{kind: unixipc.Closed, session: 5})}},
	{"sends", Charger{owner: &Link{id: 3}, number: 4, session: 1, connected: true, q: entries(func(q *queue) {
		q.sends = []send{{position: 10, asker: Asker{0, 3}, ref: 77}, {position: 1 << 40, asker: Asker{0, 9}, reply: true, ref: 4}, {position: 1<<40 + 2, asker: Asker{0, 1}}}
	})}},
	{"everything", Charger{owner: &Link{id: 3}, number: 1 << 40, session: 9, attempts: 1, connected: true, paused: pausedByQueue, announce: true, moving: true, q: entries(func(q *queue) {
		q.held, q.avoid, q.notBefore = true, 2, codecNow.Add(time.Millisecond)
		q.sends = []send{{position: 1, asker: Asker{0, 3}, ref: 1<<64 - 1}}
	}, entry{session: 8}, entry{acked: true, session: 9}, entry{number: 1 << 40, session: 9, at: ago(time.Hour)})}},
	{"called", Charger{owner: &Link{id: 3}, number: 4, session: 1, connected: true, q: entries(func(q *queue) {
		q.calls = []*call{{asker: Asker{0, 3}, ref: 1<<64 - 1, id: "a1", began: ago(1500 * time.Millisecond), limit: codecNow.Add(28500 * time.Millisecond)}}
	})}},
	{"calls-waiting", Charger{session: 1, connected: true, q: entries(func(q *queue) {
		q.calls = []*call{
			{id: "nobody waits", began: ago(time.Hour), limit: codecNow},
			{asker: Asker{0, 9}, id: "ü\"", began: codecNow, limit: codecNow.Add(time.Second), message: []byte(`[2,"ü\"","Reset",{}]`)},
			{asker: Asker{0, 3}, ref: 5, id: "c", began: ago(time.Second), limit: codecNow.Add(time.Millisecond), message: []byte(`[2,"c","Reset",{}]`)},
		}
		q.unanswered = []string{"x", "y"}
	}, entry{session: 1})}},
	{"unanswered", Charger{owner: &Link{id: 3}, session: 1, connected: true, q: entries(func(q *queue) { q.unanswered = []string{"a"} })}},
	{"noted", Charger{owner: &Link{id: 3}, number: 1, session: 1, connected: true}},
	{"late", Charger{owner: &Link{id: 3}, number: 1, session: 1, connected: true, q: entries(nil, entry{session: 1, flags: unixipc.Late, number: 1}, entry{session: 1, flags: unixipc.Late | unixipc.Redelivered})}},
	{"malformed", Charger{owner: &Link{id: 3}, number: 1, session: 1, connected: true, q: entries(nil,
		entry{session: 1, flags: unixipc.Binary | unixipc.Malformed, number: 1}, entry{session: 1, flags: unixipc.Binary | unixipc.Malformed | unixipc.Redelivered})}},
}

func chargerSample(r *Relay, i int) *Charger {
	c := chargerSamples[i].c
	c.identity, c.subprotocol = "CP-ü", unique.Make("ocpp1.6")
	for _, e := range c.q.entriesOrNil() {
		if e.number != 0 {
			c.inFlight++
		}
	}
	if chargerSamples[i].name == "noted" {
		r.setNote(&c, []byte("tenant 7\x00\xff"))
	}
	return &c
}

// parsed makes a charger of what parseCharger returns.
func parsed(r *Relay, b []byte) (*Charger, error) {
	c, owner, note, err := r.parseCharger(b)
	r.setNote(&c, note)
	if owner != 0 {
		c.owner = &Link{id: owner}
	}
	return &c, err
}

// show is everything of a charger that its encoding is to hold.
func show(c *Charger) string {
	s := fmt.Sprint(c.identity, c.subprotocol.Value(), c.number, c.session, c.inFlight, c.attempts, c.connected, c.paused != reading, c.announce, c.moving)
	if c.owner != nil {
		s += fmt.Sprint(" owner ", c.owner.id)
	}
	if q := c.q; q != nil {
		s += fmt.Sprint(" held ", q.held, q.notBefore.Sub(codecNow).Milliseconds(), q.avoid, q.sends)
		for _, k := range q.calls {
			s += fmt.Sprintf("\n%v %d %q %d %d %q", k.asker, k.ref, k.id, codecNow.Sub(k.began).Milliseconds(), k.limit.Sub(codecNow).Milliseconds(), k.message)
		}
		s += fmt.Sprint(q.unanswered)
		for i := range q.entries {
			e := q.entries[i]
			age := int64(0)
			if e.number != 0 {
				age = codecNow.Sub(e.at).Milliseconds()
			}
			s += fmt.Sprintf("\n%v %v %v %v %v %v %v %q %q", e.kind, e.flags, e.moved, e.acked, e.number, e.session, age, e.sub, q.payload(&e))
		}
	}
	return s
}

var linkSamples = []struct {
	name string
	l    Link
}{
	{"least", Link{id: 1, name: "p", window: 1}},
	{"idle", Link{id: 7, name: "processor one", hash: 0xfedcba9876543210, window: 100, subprotocols: []string{"ocpp1.6", "ocpp2.0.1"}}},
	{"busy", Link{id: 1<<32 - 1, name: "p", hash: 1, window: 10, in: []byte("\x00\x00\x00\x11ha"), out: []byte("written|unwritten"), off: 8, cut: true}},
	{"half-written", Link{id: 3, name: "p", hash: 1, window: 10, out: unixipc.Frame{Type: unixipc.Drained}.Append(unixipc.Frame{Type: unixipc.Welcome}.Append(nil)), off: 5}},
	{"draining", Link{id: 2, name: "p", hash: 1, window: 10, draining: true}},
	{"drained", Link{id: 2, name: "p", hash: 1, window: 10, draining: true, drained: true}},
	{"retired", Link{id: 2, name: "p", hash: 1, window: 10, draining: true, drained: true, retired: retiredAuthorizer}},
	{"asks-only", Link{id: 2, name: "p", hash: 1, window: 10, draining: true, drained: true, askOnly: true}},
	{"authorizes", Link{id: 2, name: "p", hash: 1, window: 10, authorizes: true, tokens: 1 << 40}},
	{"charger-window", Link{id: 3, name: "p", hash: 1, window: 10, chargerWindow: 1}},
	{"operator", Link{
		id: 2, name: "p", hash: 1, window: 10, operator: true,
		taps:    []tap{{token: 1, glob: "*"}, {token: 1<<64 - 1, glob: "CP-ü[a-z]", missed: 1 << 40}},
		watches: []watch{{glob: "*"}, {token: 7, glob: "x", unlisted: true}},
	}},
}

func showLink(l *Link) string {
	return fmt.Sprintf("%d %q %x %q %v %d %q %q %v %v", l.id, l.name, l.hash, l.subprotocols, l.subprotocols == nil, l.window, l.in, l.Unwritten(), l.draining, l.drained) + fmt.Sprint(l.retired) +
		fmt.Sprint(l.operator, l.askOnly, l.authorizes, l.tokens, l.taps, l.watches, l.chargerWindow, l.cut)
}

func TestChargerRoundTrip(t *testing.T) {
	r := codecRelay(t)
	for i, tt := range chargerSamples {
		c := chargerSample(r, i)
		b := r.AppendCharger(nil, c)
		before := bytes.Clone(b)
		got, err := parsed(r, b)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		clear(b) // nothing of it is kept
		if show(got) != show(c) {
			t.Errorf("%s became\n%s, was\n%s", tt.name, show(got), show(c))
		}
		if again := r.AppendCharger(nil, got); !bytes.Equal(again, before) {
			t.Errorf("%s: encoded anew it is\n%x, was\n%x", tt.name, again, before)
		}
	}
}

func TestLinkRoundTrip(t *testing.T) {
	r := codecRelay(t)
	for _, tt := range linkSamples {
		b := r.AppendLink(nil, &tt.l)
		before := bytes.Clone(b)
		got, err := parseLink(b)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		clear(b)
		if showLink(got) != showLink(&tt.l) {
			t.Errorf("%s became\n%s, was\n%s", tt.name, showLink(got), showLink(&tt.l))
		}
		if again := r.AppendLink(nil, got); !bytes.Equal(again, before) {
			t.Errorf("%s: encoded anew it is\n%x, was\n%x", tt.name, again, before)
		}
	}
}

func TestEveryStrictPrefixIsRefused(t *testing.T) {
	r := codecRelay(t)
	for i, tt := range chargerSamples {
		b := r.AppendCharger(nil, chargerSample(r, i))
		for i := range b {
			if _, _, _, err := r.parseCharger(b[:i]); err == nil {
				t.Errorf("charger %s passes when cut at %d of %d", tt.name, i, len(b))
			}
		}
	}
	for _, tt := range linkSamples {
		b := r.AppendLink(nil, &tt.l)
		for i := range b {
			if _, err := parseLink(b[:i]); err == nil {
				t.Errorf("link %s passes when cut at %d of %d", tt.name, i, len(b))
			}
		}
	}
}

// golden compares a state with its file in testdata, which is written only if
// HOLDFAST_GOLDEN=new and there is none; and returns the file's bytes.
func golden(t *testing.T, name string, got []byte) []byte {
	t.Helper()
	path := filepath.Join("testdata", name+".hex")
	text, err := os.ReadFile(path)
	if os.IsNotExist(err) && os.Getenv("HOLDFAST_GOLDEN") == "new" {
		var w strings.Builder
		for line := range slices.Chunk(got, 32) {
			fmt.Fprintf(&w, "%x\n", line)
		}
		text, err = []byte(w.String()), os.WriteFile(path, []byte(w.String()), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := hex.DecodeString(string(bytes.Join(bytes.Fields(text), nil)))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, b) {
		t.Errorf("%s: version 1 is written as\n%x, was\n%x", name, got, b)
	}
	return b
}

// The bytes of version 1 never change. When there is a version 2, these files
// stay, and are read only.
func TestGolden(t *testing.T) {
	r := codecRelay(t)
	for i, tt := range chargerSamples {
		c, err := parsed(r, golden(t, "charger-v1-"+tt.name, r.AppendCharger(nil, chargerSample(r, i))))
		if err != nil || show(c) != show(chargerSample(r, i)) {
			t.Errorf("%s is read as %s, %v", tt.name, show(c), err)
		}
	}
	for _, tt := range linkSamples {
		l, err := parseLink(golden(t, "link-v1-"+tt.name, r.AppendLink(nil, &tt.l)))
		if err != nil || showLink(l) != showLink(&tt.l) {
			t.Errorf("%s is read as %s, %v", tt.name, showLink(l), err)
		}
	}
	if files, err := filepath.Glob("testdata/*-v1-*.hex"); err != nil || len(files) != len(chargerSamples)+len(linkSamples) {
		t.Errorf("%d files, %v", len(files), err)
	}
}

// raw writes fields as they are given; those of a list come one after the other.
type raw []struct {
	id uint32
	v  []byte
}

// must marks the number of a field as required, for raw.
const must = 1 << 31

func (f raw) append(dst []byte) []byte {
	for _, f := range f {
		if f.id&must != 0 {
			dst = tlv.AppendRequired(dst, f.id&^must, f.v)
		} else {
			dst = tlv.AppendItem(dst, f.id, f.v)
		}
	}
	return dst
}

func num(v uint64) []byte { return binary.AppendUvarint(nil, v) }

// named begins a charger.
func named(identity, subprotocol string) []byte {
	b := tlv.AppendHeader(nil, chargerMagic, StateVersion)
	b = tlv.AppendBytes(b, chargerIdentity, identity)
	return tlv.AppendBytes(b, chargerSubprotocol, subprotocol)
}

// least is a charger with a name and more fields behind.
func least(more ...raw) []byte {
	b := named("CP1", "ocpp1.6")
	for _, f := range more {
		b = f.append(b)
	}
	return tlv.AppendEnd(b)
}

func item(f raw) []byte { return f.append(nil) }

// flying and queued are deliveries of the first connection.
func flying(n uint64) []byte {
	return item(raw{{entryKind, num(uint64(unixipc.Message))}, {entryNumber, num(n)}, {entrySession, num(1)}})
}

func queued(more ...raw) []byte {
	b := item(raw{{entryKind, num(uint64(unixipc.Message))}})
	for _, f := range more {
		b = f.append(b)
	}
	return b
}

func sending(position, loop, link uint64) []byte {
	return tlv.AppendUint(tlv.AppendUint(tlv.AppendUint(nil, sendPosition, position), sendLoop, loop), sendLink, link)
}

// calling is a call of a link of this loop, if it is not 0; with so many bytes
// of a message.
func calling(id string, link uint64, n int) []byte {
	return tlv.AppendBytes(tlv.AppendBytes(tlv.AppendUint(nil, callLink, link), callID, id), callMessage, make([]byte, n))
}

func looking(token uint64, glob string) []byte {
	return tlv.AppendBytes(tlv.AppendUint(nil, subscriptionToken, token), subscriptionGlob, glob)
}

func TestChargerHostile(t *testing.T) {
	on := func(id uint32) raw { return raw{{id, num(1)}} }
	online := on(chargerConnected)
	owned := raw{{chargerOwner, num(3)}, {chargerNumber, num(9)}, {chargerSession, num(1)}, {chargerConnected, num(1)}}
	ownedHeld := append(slices.Clone(owned), raw{{chargerHeld, num(1)}}...)
	list := func(items ...[]byte) (f raw) {
		for _, v := range items {
			f = append(f, raw{{chargerEntry, v}}...)
		}
		return f
	}
	sends := func(items ...[]byte) (f raw) {
		for _, v := range items {
			f = append(f, raw{{chargerSend, v}}...)
		}
		return f
	}
	calls := func(items ...[]byte) (f raw) {
		for _, v := range items {
			f = append(f, raw{{chargerCall | must, v}}...)
		}
		return f
	}
	opened := uint64(unixipc.Opened)
	r := codecRelay(t)
	for _, tt := range []struct {
		name string
		ok   bool
		b    []byte
	}{
		{"the least there is", true, least(online)},
		{"owned", true, least(owned)},
		{"in flight in order", true, least(owned, list(flying(7), flying(9), queued()))},
		{"in flight behind a held one", true, least(ownedHeld, list(queued(), flying(9)))},
		{"sends in order", true, least(owned, sends(sending(1, 0, 1), sending(2, 0, 1)))},

		{"no identity", false, tlv.AppendEnd(online.append(named("", "x")))},
		{"no subprotocol", false, tlv.AppendEnd(online.append(named("x", "")))},
		{"identity that is not UTF-8", false, tlv.AppendEnd(online.append(named("\xff", "x")))},
		{"identity too long", false, tlv.AppendEnd(online.append(named(strings.Repeat("x", 256), "x")))},
		{"nothing to deliver, not connected", false, least()},
		{"held for nothing, not connected, but owned", false, least(raw{{chargerOwner, num(3)}, {chargerHeld, num(1)}})},
		{"owner over 32 bits", false, least(raw{{chargerOwner, num(1 << 32)}}, online)},
		{"attempts over 8 bits", false, least(raw{{chargerAttempts, num(256)}}, online)},
		{"number about to wrap around", false, least(raw{{chargerNumber, num(1<<62 + 1)}}, online)},
		{"paused, not connected", false, least(on(chargerPaused), list(queued()))},
		{"announcement without an owner", false, least(online, on(chargerAnnounce))},
		{"in flight without an owner", false, least(raw{{chargerNumber, num(9)}, {chargerSession, num(1)}}, list(flying(9)))},
		{"delay, not held", false, least(raw{{chargerDelay, num(5)}}, list(queued()))},
		{"delay over a day", false, least(on(chargerHeld), raw{{chargerDelay, num(24*3600*1000 + 1)}}, list(queued()))},
		{"avoids without a queue", false, least(online, raw{{chargerAvoid, num(5)}})},
		{"sends, not connected", false, least(sends(sending(1, 0, 1)))},
		{"sends at no position", false, least(owned, sends(sending(0, 0, 1)))},
		{"sends out of order", false, least(owned, sends(sending(2, 0, 1), sending(1, 0, 1)))},
		{"sends twice at a position", false, least(owned, sends(sending(2, 0, 1), sending(2, 0, 1)))},
		{"send of no link", false, least(owned, sends(sending(2, 0, 0)))},
		{"send of a loop that is not", false, least(owned, sends(sending(2, 1, 1)))},
		{"send of nothing", false, least(owned, sends(nil))},
		{"delivery of nothing", false, least(list(nil))},
		{"delivery of no kind", false, least(list(item(raw{{entryPayload, []byte("x")}})))},
		{"delivery of another kind", false, least(list(item(raw{{entryKind, num(uint64(unixipc.Ack))}})))},
		{"delivery with unknown flags", false, least(list(queued(raw{{entryFlags, num(8)}})))},
		{"first delivery acknowledged", false, least(list(queued(on(entryAcked)), queued()))},
		{"acknowledged and in flight", false, least(owned, list(queued(), queued(raw{{entryAcked, num(1)}, {entryNumber, num(2)}})))},
		{"an age, not in flight", false, least(list(queued(on(entryAge))))},
		{"an age over a day", false, least(owned, list(queued(raw{{entryNumber, num(2)}, {entryAge, num(24*3600*1000 + 1)}})))},
		{"two of one number", false, least(owned, list(flying(7), flying(7)))},
		{"numbers that count down", false, least(owned, list(flying(8), flying(7)))},
		{"number that was not given yet", false, least(owned, list(flying(10)))},
		{"in flight behind a waiting one", false, least(owned, list(queued(), flying(9)))},
		{"of a connection to come", false, least(owned, list(queued(raw{{entrySession, num(2)}})))},
		{"message that moved", false, least(owned, list(queued(on(entryMoved))))},
		{"message with a subprotocol", false, least(owned, list(queued(raw{{entrySubprotcol, []byte("x")}})))},
		{"announcement with a payload", false, least(owned, list(item(raw{{entryKind, num(opened)}, {entryMoved, num(1)}, {entryPayload, []byte("x")}})))},
		{"announcement that is not first", false, least(owned, list(queued(), item(raw{{entryKind, num(opened)}, {entryMoved, num(1)}})))},
		{"a call", true, least(owned, calls(calling("a", 1, 0)))},
		{"a call, and one that waits", true, least(owned, calls(calling("a", 0, 0), calling("b", 1, 5)))},
		{"two calls with the charger", false, least(owned, calls(calling("a", 1, 0), calling("b", 1, 0)))},
		{"a call that waits for none", false, least(owned, calls(calling("b", 1, 5)))},
		{"a call that nobody made", false, least(owned, calls(calling("a", 1, 0), calling("b", 0, 5)))},
		{"two calls of one id", false, least(owned, calls(calling("a", 1, 0), calling("a", 1, 5)))},
		{"a call of an id that is unanswered", false, least(owned, calls(calling("a", 1, 0)), raw{{chargerUnanswered, []byte("a")}})},
		{"a call without an id", false, least(owned, calls(calling("", 1, 0)))},
		{"a call whose id is too long", false, least(owned, calls(calling(strings.Repeat("x", 37), 1, 0)))},
		{"a call whose id is not UTF-8", false, least(owned, calls(calling("\xff", 1, 0)))},
		{"a call, not connected", false, least(list(queued()), calls(calling("a", 1, 0)))},
		{"a call that is not required", false, least(owned, raw{{chargerCall, calling("a", 1, 0)}})},
		{"a call cut short", false, least(owned, calls(calling("a", 1, 0)[:2]))},
		{"a call of a loop that is not", false, least(owned, calls(append(tlv.AppendUint(nil, callLoop, 1), calling("a", 1, 0)...)))},
		{"17 unanswered", false, least(owned, func() (f raw) {
			for i := range 17 {
				f = append(f, raw{{chargerUnanswered, []byte{'a' + byte(i)}}}...)
			}
			return f
		}())},
		{"a note", true, least(owned, raw{{chargerNote, make([]byte, unixipc.MaxNote)}})},
		{"a note that is too long", false, least(owned, raw{{chargerNote, make([]byte, unixipc.MaxNote+1)}})},
		{"a note of nothing", false, least(owned, raw{{chargerNote, nil}})},
		{"a late OPENED", false, least(list(item(raw{{entryKind, num(opened)}, {entryLate, num(1)}})))},
		{"delivery cut short", false, least(owned, list(flying(9)[:5]))},
		{"delivery longer than it is", false, least(owned, list([]byte{entryKind << 1, 9, 1}))},
		{"delivery with a field of zero", false, least(owned, list(append([]byte{0, 0}, queued()...)))},
		{"delivery with an end of its own", false, least(owned, list(tlv.AppendEnd(queued())))},
	} {
		if c, err := parsed(r, tt.b); (err == nil) != tt.ok {
			t.Errorf("%s: %v, %s", tt.name, err, show(c))
		}
	}
	two := modelConfig
	two.Loops, two.Loop = 2, 1-LoopOf("CP1", 2)
	if _, _, _, err := New(two, nobody{t}).parseCharger(least(raw{{chargerConnected, num(1)}})); err == nil {
		t.Error("a charger of another loop passes")
	}
}

func TestLinkHostile(t *testing.T) {
	least := raw{{linkID, num(1)}, {linkName, []byte("p")}, {linkHash, num(1)}, {linkWindow, num(1)}}
	for _, tt := range []struct {
		name string
		ok   bool
		f    raw
	}{
		{"the least there is", true, least},
		{"no id", false, least[1:]},
		{"no name", false, append(slices.Clone(least[:1]), least[2:]...)},
		{"no window", false, least[:3]},
		{"window over 31 bits", false, append(slices.Clone(least[:3]), raw{{linkWindow, num(1 << 31)}}...)},
		{"name too long", false, append(raw{{linkID, num(1)}, {linkName, make([]byte, 65)}}, least[2:]...)},
		{"retired, not draining", false, append(slices.Clone(least), raw{{linkRetired, num(1)}}...)},
		{"retired, and authorizes", false, append(slices.Clone(least), raw{{linkDraining, num(1)}, {linkAuthorizes, num(1)}, {linkRetired, num(2)}}...)},
		{"retired somehow", false, append(slices.Clone(least), raw{{linkDraining, num(1)}, {linkRetired, num(3)}}...)},
		{"drained, not draining", false, append(slices.Clone(least), raw{{linkDrained, num(1)}}...)},
		{"asks only, not draining", false, append(slices.Clone(least), raw{{linkAskOnly, num(1)}}...)},
		{"taps, no operator", false, append(slices.Clone(least), raw{{linkTap, looking(1, "*")}}...)},
		{"a tap", true, append(slices.Clone(least), raw{{linkOperator, num(1)}, {linkTap, looking(1, "*")}}...)},
		{"a tap and a watch of one token", false, append(slices.Clone(least), raw{{linkOperator, num(1)}, {linkTap, looking(1, "*")}, {linkWatch, looking(1, "*")}}...)},
		{"a glob that is none", false, append(slices.Clone(least), raw{{linkWatch, looking(1, "[")}}...)},
		{"no glob", false, append(slices.Clone(least), raw{{linkWatch, looking(1, "")}}...)},
	} {
		b := tlv.AppendEnd(tt.f.append(tlv.AppendHeader(nil, linkMagic, 1)))
		if _, err := parseLink(b); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestUnknownFields(t *testing.T) {
	r := codecRelay(t)
	later := raw{{90, []byte("new")}, {90, []byte("new")}}
	if _, _, _, err := r.parseCharger(least(raw{{chargerEntry, queued(later)}}, later)); err != nil {
		t.Errorf("with optional fields of a later version: %v", err)
	}
	known := tlv.AppendRequired(nil, 91, []byte("new"))
	b := least(raw{{chargerConnected, num(1)}})
	if _, _, _, err := r.parseCharger(tlv.AppendEnd(append(b[:len(b)-1], known...))); err == nil {
		t.Error("a required field of a later version is passed over")
	}
	if _, _, _, err := r.parseCharger(least(raw{{chargerEntry, append(queued(), known...)}})); err == nil {
		t.Error("a required field of a later version is passed over in a delivery")
	}
	if _, _, _, err := r.parseCharger(least(raw{{chargerConnected, num(1)}, {chargerSend, append(sending(1, 0, 1), known...)}})); err == nil {
		t.Error("a required field of a later version is passed over in a send")
	}
	b = r.AppendLink(nil, &linkSamples[0].l)
	if _, err := parseLink(tlv.AppendEnd(append(b[:len(b)-1], known...))); err == nil {
		t.Error("a required field of a later version is passed over in a link")
	}
}

// A link that joins after a hand-over gets no id under which a former one is
// still to hear of something.
func TestLinkIDsAreNotGivenAgain(t *testing.T) {
	r := codecRelay(t)
	for i, tt := range chargerSamples {
		if tt.name == "sends" {
			c := chargerSample(r, i)
			if _, err := r.AdoptLink(r.AppendLink(nil, &Link{id: c.owner.id, name: "p", window: 1})); err != nil {
				t.Fatal(err)
			}
			if _, err := r.AdoptCharger(r.AppendCharger(nil, c), 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.Activate()
	if l := r.Join(unixipc.HelloBody{Name: "new"}, false); l.id != 10 {
		t.Errorf("link %d; link 9 is waiting for a RESULT", l.id)
	}
}

// Whatever is taken is the one encoding of what was understood; and a relay
// goes on with it: in the end everything is delivered, and nothing is left.
func FuzzCharger(f *testing.F) {
	r := New(modelConfig, nobody{})
	r.SetNow(codecNow)
	for i := range chargerSamples {
		f.Add(r.AppendCharger(nil, chargerSample(r, i)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := codecRelay(t)
		c, err := parsed(r, b)
		if err != nil {
			return
		}
		again := r.AppendCharger(nil, c)
		if !bytes.Equal(again, b) && !hasUnknown(b) {
			t.Fatalf("%x became\n%x", b, again)
		}
		if c, err = parsed(r, again); err != nil || !bytes.Equal(r.AppendCharger(nil, c), again) {
			t.Fatalf("%x does not stay the same: %v", again, err)
		}
		runDry(t, r, c, again)
	})
}

// runDry adopts a charger and has a processor acknowledge everything.
func runDry(t *testing.T, r *Relay, c *Charger, state []byte) {
	if c.owner != nil {
		if _, err := r.AdoptLink(r.AppendLink(nil, &Link{id: c.owner.id, name: "p", window: 10})); err != nil {
			t.Fatal(err)
		}
	}
	a, err := r.AdoptCharger(state, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.ReadoptCharger(a, state, 1); err != nil {
		t.Fatal(err)
	}
	pending := map[uint64]bool{} // in flight before the hand-over: acknowledged behind it
	for _, e := range c.q.entriesOrNil() {
		if e.number != 0 {
			pending[e.number] = true
		}
	}
	r.Activate()
	if len(r.links) == 0 {
		if r.lastLink == 1<<32-1 {
			return // there is no id left
		}
		r.Join(unixipc.HelloBody{Name: "q"}, false)
	}
	m := &model{t: t, r: r}
	m.check()
	if c.connected {
		r.Closed(a, unixipc.ClosedBody{Code: 1000})
	}
	for range 10_000 {
		l := r.links[0]
		for n := range pending {
			r.Receive(l, unixipc.Frame{Type: unixipc.Ack, Ref: n, Key: []byte(c.identity)}.Append(nil))
		}
		clear(pending)
		in := bytes.Clone(l.Unwritten())
		r.Wrote(l, len(in))
		for len(in) > 0 {
			f, n, err := unixipc.Parse(in, 1<<30)
			if err != nil || n == 0 {
				t.Fatalf("%d bytes to the processor are no frame: %v", len(in), err)
			}
			in = in[n:]
			if f.Type == unixipc.Opened || f.Type == unixipc.Message || f.Type == unixipc.Closed {
				pending[f.Ref] = true
			}
		}
		m.check()
		if r.Chargers() == 0 {
			if r.Queued() != 0 {
				t.Fatalf("%d bytes are left", r.Queued())
			}
			return
		}
		if len(pending) == 0 {
			r.SetNow(r.now.Add(time.Hour))
			r.Tick()
			if len(r.links) == 0 {
				r.Join(unixipc.HelloBody{Name: "q"}, false)
			}
		}
	}
	t.Fatalf("something is left for ever: %x", state)
}

func FuzzLink(f *testing.F) {
	r := New(modelConfig, nobody{})
	for _, tt := range linkSamples {
		f.Add(r.AppendLink(nil, &tt.l))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := parseLink(b)
		if err != nil {
			return
		}
		again := r.AppendLink(nil, l)
		if !bytes.Equal(again, b) && !hasUnknown(b) {
			t.Fatalf("%x became\n%x", b, again)
		}
		if l, err = parseLink(again); err != nil || !bytes.Equal(r.AppendLink(nil, l), again) {
			t.Fatalf("%x does not stay the same: %v", again, err)
		}
	})
}

// hasUnknown reports whether a state has fields of a later version.
func hasUnknown(b []byte) bool {
	magic, last := chargerMagic, uint32(chargerUnanswered)
	if b[1] == linkMagic[1] {
		magic, last = linkMagic, linkTokens
	}
	lists := map[uint32]uint32{chargerEntry: entryLate, chargerSend: sendReply, chargerCall: callMessage, chargerUnanswered: 0}
	if magic == linkMagic {
		lists = map[uint32]uint32{linkSubprotocol: 0, linkTap: subscriptionCount, linkWatch: subscriptionCount}
	}
	r := tlv.NewReader("", b, magic, StateVersions...)
	names := slices.Collect(maps.Keys(lists))
	for id, ok := r.Next(names...); ok; id, ok = r.Next(names...) {
		inner := lists[id]
		if id > last {
			return true
		}
		if inner == 0 {
			continue
		}
		if id == chargerCall && magic == chargerMagic {
			r.Required()
		}
		fields := tlv.NewFields("", r.Item(maxData))
		for id, ok := fields.Next(); ok; id, ok = fields.Next() {
			if id > inner {
				return true
			}
		}
	}
	return false
}
