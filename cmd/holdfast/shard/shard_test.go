package shard

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"holdfast/cmd/holdfast/admin"
	"holdfast/cmd/holdfast/metrics"
	"holdfast/conn"
	"holdfast/unixipc"
)

// A message goes to the processor, its reply to the charger, and the end of the
// connection behind both.
func TestMessageAndReply(t *testing.T) {
	r := newRig(t)
	s := r.shards[0]
	p := r.join(s, unixipc.HelloBody{Name: "p"}, false)
	c := r.open(s, "CP-1")
	var opened unixipc.OpenedBody
	if err := json.Unmarshal(p.deliver(unixipc.Opened, "").Payload, &opened); err != nil {
		t.Fatal(err)
	}
	if opened.Subprotocol != "ocpp1.6" || opened.Path != "/ocpp/" || opened.Remote != "127.0.0.1:1000" || opened.TLS != nil {
		t.Errorf("%+v", opened)
	}
	c.send("question")
	if f := p.deliver(unixipc.Message, "answer"); string(f.Key) != "CP-1" || string(f.Payload) != "question" {
		t.Errorf("%s %q", f.Key, f.Payload)
	}
	if opcode, text := c.frame(); opcode != 1 || text != "answer" {
		t.Errorf("opcode %d, %q", opcode, text)
	}
	_ = c.Close()
	var closed unixipc.ClosedBody
	if err := json.Unmarshal(p.deliver(unixipc.Closed, "").Payload, &closed); err != nil || closed.Code != 1006 || closed.By != string(conn.ByCharger) {
		t.Errorf("%+v, %v", closed, err)
	}
	r.logged("msg=closed", "charger=CP-1", "by=charger")
	if held := s.Held.Load(); held != 0 {
		t.Errorf("%d are held", held)
	}
	n := ask(r, s, func() [4]uint64 {
		return [4]uint64{s.Counters.MessagesIn, s.Counters.BytesIn, s.Counters.MessagesOut, s.Counters.BytesOut}
	})
	if n != [4]uint64{1, 8, 1, 6} {
		t.Errorf("counted %v", n)
	}
}

// A charger that comes again replaces its former connection, whose messages come
// first.
func TestReplaced(t *testing.T) {
	r := newRig(t)
	s := r.shards[0]
	p := r.join(s, unixipc.HelloBody{Name: "p"}, false)
	former := r.open(s, "CP-1")
	p.deliver(unixipc.Opened, "")
	former.send("last words")
	r.open(s, "CP-1").send("first words")
	if f := p.deliver(unixipc.Message, ""); string(f.Payload) != "last words" {
		t.Errorf("%q", f.Payload)
	}
	var closed unixipc.ClosedBody
	if err := json.Unmarshal(p.deliver(unixipc.Closed, "").Payload, &closed); err != nil || closed.Code != conn.CodePolicy || closed.Reason != conn.ReasonReplaced.Format {
		t.Errorf("%+v, %v", closed, err)
	}
	p.deliver(unixipc.Opened, "")
	if f := p.deliver(unixipc.Message, ""); string(f.Payload) != "first words" {
		t.Errorf("%q", f.Payload)
	}
	if held := s.Held.Load(); held != 1 {
		t.Errorf("%d are held", held)
	}
}

// At a shutdown each charger is closed with 1012.
func TestCloseShare(t *testing.T) {
	r := newRig(t)
	s := r.shards[0]
	var all []*charger
	for _, identity := range []string{"a", "b", "c", "d"} {
		all = append(all, r.open(s, identity))
	}
	why := conn.ReasonShutdown.Close()
	s.Loop.Post(func() { s.CloseShare(5, why) }) // none of four
	s.Loop.Post(func() { s.CloseShare(1, why) })
	for _, c := range all {
		if code, reason := c.closed(); code != conn.CodeRestart || reason != conn.ReasonShutdown.Format {
			t.Errorf("closed with %d %q", code, reason)
		}
		_ = c.Close()
	}
	r.eventually("all are closed", func() bool { return s.Held.Load() == 0 })
}

// Whatever a link sends that is no frame ends it, and its peer receives why.
func TestLinkAtFault(t *testing.T) {
	r := newRig(t)
	s := r.shards[0]
	p := r.join(s, unixipc.HelloBody{Name: "p"}, false)
	if _, err := p.Write([]byte("GET / HTTP/1.1\r\n")); err != nil {
		t.Fatal(err)
	}
	var refused unixipc.RefusedBody
	if err := json.Unmarshal(p.expect(unixipc.Refused).Payload, &refused); err != nil || !strings.Contains(refused.Why, "malformed frame") {
		t.Errorf("%+v, %v", refused, err)
	}
	if f, err := p.next(); !errors.Is(err, io.EOF) {
		t.Errorf("received %v, %v", f.Type, err)
	}
	r.logged(`level=WARN msg="processor left"`, "processor=p", "malformed frame")
	r.logged(`level=WARN msg="no processor is left for a subprotocol: messages wait"`, "last=p")
	if joined := s.Joined.Load(); joined != 0 {
		t.Errorf("%d links are counted", joined)
	}
}

// What a processor had when it died goes to another one, marked redelivered.
func TestLinkLost(t *testing.T) {
	r := newRig(t)
	s := r.shards[0]
	first := r.join(s, unixipc.HelloBody{Name: "p"}, false)
	c := r.open(s, "CP-1")
	first.deliver(unixipc.Opened, "")
	c.send("hello")
	first.expect(unixipc.Message)
	_ = first.Close()
	r.logged(`level=INFO msg="processor left"`, "processor closed the link", "redelivered=1")
	second := r.join(s, unixipc.HelloBody{Name: "q"}, false)
	second.deliver(unixipc.Opened, "")
	if f := second.deliver(unixipc.Message, ""); f.Flags&unixipc.Redelivered == 0 || string(f.Payload) != "hello" {
		t.Errorf("flags %b, %q", f.Flags, f.Payload)
	}
	if left := ask(r, s, func() uint64 { return s.Counters.LeftUnclean }); left != 1 {
		t.Errorf("%d have left with something unacknowledged", left)
	}
}

// A processor that does not read is not read from, once it has as many bytes unread
// as it may. When it reads on, nothing is missing.
func TestLinkThatDoesNotRead(t *testing.T) {
	r := newRig(t, "-max-message", "1KiB")
	s := r.shards[0]
	p := r.join(s, unixipc.HelloBody{Name: "p"}, false)
	const orders = 100_000 // whose results are several times what a link may have unwritten
	go func() {
		var b []byte
		for n := range orders {
			b = unixipc.Frame{Type: unixipc.Send, Ref: uint64(n), Key: []byte("nobody"), Payload: []byte("[]")}.Append(b[:0])
			if _, err := p.Write(b); err != nil {
				return // the test has failed already
			}
		}
	}()
	unwritten := func() (n int) {
		return ask(r, s, func() (n int) {
			for l := range s.Links() {
				n += len(l.Unwritten())
			}
			return n
		})
	}
	r.eventually("not read from", func() bool { return unwritten() > s.links.maxUnwritten })
	if n := unwritten(); n > s.links.maxUnwritten+16<<20 {
		t.Errorf("%d bytes are unwritten, of at most %d", n, s.links.maxUnwritten)
	}
	for n := range uint64(orders) {
		if token, body := p.result(); token != n || body.Status != unixipc.StatusOffline {
			t.Fatalf("result %d: token %d, %+v", n, token, body)
		}
	}
}

// Operators see what a shard holds.
func TestStatus(t *testing.T) {
	r := newRig(t)
	s := r.shards[0]
	p := r.join(s, unixipc.HelloBody{Name: "p", Window: 5}, false)
	r.join(s, unixipc.HelloBody{Name: "holdfast-tap-1", AskOnly: true}, true)
	c := r.open(s, "CP-1")
	p.deliver(unixipc.Opened, "")
	r.open(s, "CP-2")
	p.deliver(unixipc.Opened, "")
	c.send("hello")
	p.expect(unixipc.Message)
	waits, err := s.Survey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	part := ask(r, s, func() admin.Status { return s.Status(waits) })
	if len(part.Kinds) != 1 || part.Kinds[0].Connections != 2 || part.Kinds[0].Subprotocol != "ocpp1.6" || part.Kinds[0].TLS != "none" {
		t.Errorf("kinds %+v", part.Kinds)
	}
	if q := part.Queue; q.Messages != 1 || q.Bytes != 5 || q.InFlight != 1 || q.Chargers != 1 || q.Paused+q.Offline != 0 {
		t.Errorf("queue %+v", q)
	}
	if len(part.Links) != 2 {
		t.Fatalf("links %+v", part.Links)
	}
	for _, l := range part.Links {
		if l.Operator != (l.Processor != "p") || l.Operator == (l.Window == 5) || !l.Operator && (l.Chargers != 2 || l.InFlight != 1) {
			t.Errorf("link %+v", l)
		}
	}
	handles := ask(r, s, func() []uint64 { return s.Matching("*-1") })
	if len(handles) != 1 || len(ask(r, s, func() []uint64 { return s.Matching("*") })) != 2 {
		t.Errorf("%d match *-1", len(handles))
	}
	rows := ask(r, s, func() any { return s.Describe(handles)[0] })
	if text, _ := json.Marshal(rows); !strings.Contains(string(text), `"identity":"CP-1","subprotocol":"ocpp1.6","tls":"none","remote":"127.0.0.1:1000"`) ||
		!strings.Contains(string(text), `"processor":"p","queue":1`) {
		t.Errorf("%s", text)
	}
	if rows := ask(r, s, func() int { return len(s.Describe([]uint64{1 << 60})) }); rows != 0 {
		t.Error("a connection that is gone is described")
	}
	samples := ask(r, s, func() metrics.Samples {
		all := metrics.Samples{}
		s.Count(all, waits)
		return all
	})
	if len(samples) == 0 {
		t.Error("nothing is counted")
	}
	if n := ask(r, s, func() int { return s.Drain("p") }); n != 1 {
		t.Errorf("%d links are drained", n)
	}
	if n := ask(r, s, func() int { return s.Drain("q") }); n != 0 {
		t.Errorf("%d links of nobody are drained", n)
	}
}

// An order for a charger of another shard is done there, and logged of operators.
func TestForward(t *testing.T) {
	r := newRig(t, "-loops", "2")
	other := r.shards[1]
	identity := ""
	for _, i := range []string{"CP-1", "CP-2", "CP-3", "CP-4", "CP-5", "CP-6"} {
		if shardOf(r.shards, i) == other {
			identity = i
		}
	}
	c := r.open(other, identity)
	p := r.join(r.shards[0], unixipc.HelloBody{Name: "holdfast-send-1", AskOnly: true}, true)
	p.send(unixipc.Frame{Type: unixipc.Send, Ref: 7, Key: []byte(identity), Payload: []byte(`[2,"1","Reset",{}]`)})
	if opcode, text := c.frame(); opcode != 1 || text != `[2,"1","Reset",{}]` {
		t.Errorf("opcode %d, %q", opcode, text)
	}
	if token, body := p.result(); token != 7 || body.Status != unixipc.StatusOK {
		t.Errorf("token %d, %+v", token, body)
	}
	r.logged("msg=operator", "order=SEND", "charger="+identity)
}
