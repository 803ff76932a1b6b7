package hostile

import (
	"bytes"
	"compress/flate"
	"slices"
	"strings"
	"testing"

	"holdfast/tests/harness"
	"holdfast/tests/raw"
)

// deflated is s as permessage-deflate has it.
func deflated(t testing.TB, s string) string {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(b.String(), "\x00\x00\xff\xff")
}

const maxMessage = 1 << 20 // the default

// Each violation is closed with its code, and logged; what came before it is
// answered.
func TestViolations(t *testing.T) {
	w, p := start(t)
	half := strings.Repeat("x", maxMessage/2)
	for _, tt := range []struct {
		name, frames string
		code         int
		why          string
	}{
		{"v-unmasked", "\x81\x02hi", 1002, "not masked"},
		{"v-rsv1", raw.Masked(raw.Fin|raw.Rsv1|raw.OpText, "x"), 1002, "compressed"},
		{"v-rsv2", raw.Masked(raw.Fin|0x20|raw.OpText, "x"), 1002, "reserved bit"},
		{"v-rsv3", raw.Masked(raw.Fin|0x10|raw.OpText, "x"), 1002, "reserved bit"},
		{"v-opcode", raw.Masked(raw.Fin|0x5, "x"), 1002, "opcode"},
		{"v-control-opcode", raw.Masked(raw.Fin|0xf, ""), 1002, "opcode"},
		{"v-continuation", raw.Masked(raw.Fin|raw.OpContinuation, "x"), 1002, "continuation"},
		{"v-interleaved", raw.Masked(raw.OpText, "x") + raw.Text("y"), 1002, "inside"},
		{"v-ping-fragment", raw.Masked(raw.OpPing, "x"), 1002, "fragmented control"},
		{"v-ping-long", raw.Masked(raw.Fin|raw.OpPing, strings.Repeat("x", 126)), 1002, "125"},
		{"v-length", raw.Header(raw.Fin|raw.OpBinary, 1<<63), 1002, "top bit"},
		{"v-close-one", raw.Masked(raw.Fin|raw.OpClose, "\x03"), 1002, "one byte"},
		{"v-close-code", raw.Masked(raw.Fin|raw.OpClose, raw.Closing(1005, "")), 1002, "code 1005"},
		{"v-close-reason", raw.Masked(raw.Fin|raw.OpClose, raw.Closing(1000, "\xff")), 1007, "UTF-8"},
		{"v-utf8", raw.Text("\xed\xa0\x80"), 1007, "UTF-8"},
		{"v-utf8-early", raw.Header(raw.Fin|raw.OpText, 1000) + "\x92", 1007, "UTF-8"}, // 0xff masked with m
		{"v-utf8-cut", raw.Masked(raw.OpText, "\xe6") + raw.Masked(raw.Fin|raw.OpContinuation, "\x97"), 1007, "UTF-8"},
		{"v-big", raw.Header(raw.Fin|raw.OpBinary, maxMessage+1), 1009, "limit"},
		{"v-big-fragments", raw.Masked(raw.OpBinary, half) + raw.Masked(raw.OpContinuation, half) + raw.Header(raw.Fin|raw.OpContinuation, 1), 1009, "limit"},
		{"v-http", raw.Request("again"), 1002, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := open(t, w, tt.name)
			c.send(raw.Text("before"))
			c.expect(answered("before"))
			c.send(tt.frames)
			c.expectClose(tt.code)
			by := "gateway"
			if tt.name == "v-close-code" {
				by = "charger" // it had closed the connection, if with a code that may not be
			}
			if l := logged(t, w, "closed", tt.name, tt.why); l.Fields["code"] != float64(tt.code) || l.String("by") != by {
				t.Errorf("logged %s", l.Text)
			}
			if got := p.got(tt.name); len(got) != 1 {
				t.Errorf("the processor got %.200q", got)
			}
		})
	}
}

func TestCompressedViolations(t *testing.T) {
	w, _ := start(t)
	for _, tt := range []struct {
		name, frames string
		code         int
	}{
		{"z-garbage", raw.Masked(raw.Fin|raw.Rsv1|raw.OpText, "\xff\xff\xff\xff"), 1007},
		{"z-empty", raw.Masked(raw.Fin|raw.Rsv1|raw.OpText, ""), 1007},
		{"z-utf8", raw.Masked(raw.Fin|raw.Rsv1|raw.OpText, deflated(t, "\xff")), 1007},
		{"z-bomb", raw.Masked(raw.Fin|raw.Rsv1|raw.OpBinary, deflated(t, strings.Repeat("\x00", 8<<20))), 1009},
		{"z-one-more", raw.Masked(raw.Fin|raw.Rsv1|raw.OpBinary, deflated(t, strings.Repeat("x", maxMessage+1))), 1009},
		{"z-continuation", raw.Masked(raw.Rsv1|raw.OpText, "x") + raw.Masked(raw.Fin|raw.Rsv1|raw.OpContinuation, "x"), 1002},
		{"z-ping", raw.Masked(raw.Fin|raw.Rsv1|raw.OpPing, "x"), 1002},
	} {
		c := open(t, w, tt.name, deflate)
		c.send(raw.Masked(raw.Fin|raw.Rsv1|raw.OpText, deflated(t, "before")))
		c.expect(answered("before"))
		c.send(tt.frames)
		c.expectClose(tt.code)
		logged(t, w, "closed", tt.name, "")
	}
	if pss, err := harness.PSS(w.Pid()); err != nil || pss > 300<<20 {
		t.Errorf("%d bytes in use after the bombs, %v", pss, err)
	}
}

// The longest message goes through, in one frame and in many.
func TestLongestMessage(t *testing.T) {
	w, _ := start(t)
	longest := strings.Repeat("x", maxMessage-3) // with the answer's "re:" it is as long as may be
	c := open(t, w, "longest")
	c.send(raw.Text(longest))
	c.expect(answered("%s", longest))
	c.send(raw.Masked(raw.OpText, longest[:70_000]))
	for rest := longest[70_000:]; ; {
		n := min(len(rest), 100_000)
		if n == len(rest) {
			c.send(raw.Masked(raw.Fin|raw.OpContinuation, rest))
			break
		}
		c.send(raw.Masked(raw.OpContinuation, rest[:n]), raw.Masked(raw.Fin|raw.OpPing, "amid"))
		rest = rest[n:]
	}
	c.expect(answered("%s", longest))
}

// How a connection ends without a close, and what is logged of it.
func TestAbruptEnds(t *testing.T) {
	w, p := start(t)
	for _, tt := range []struct {
		name string
		end  func(c *charger)
		by   string
	}{
		{"e-end", func(c *charger) { c.Close() }, "charger"},
		{"e-half", func(c *charger) { _ = c.CloseWrite(); c.expectEnd() }, "charger"},
		{"e-half-frame", func(c *charger) { c.send(raw.Text("cut")[:7]); _ = c.CloseWrite(); c.expectEnd() }, "charger"},
		{"e-reset", func(c *charger) { c.reset() }, "network"},
		{"e-reset-frame", func(c *charger) { c.send(raw.Text("cut")[:7]); c.reset() }, "network"},
		{"e-reset-header", func(c *charger) { c.send(raw.Text("cut")[:1]); c.reset() }, "network"},
		{"e-reset-message", func(c *charger) { c.send(raw.Masked(raw.OpText, "cut")); c.reset() }, "network"},
	} {
		c := open(t, w, tt.name)
		c.send(raw.Text("whole"))
		c.expect(answered("whole"))
		tt.end(c)
		l := logged(t, w, "closed", tt.name, "")
		if l.Fields["code"] != 1006.0 || l.String("by") != tt.by || l.String("reason") == "" {
			t.Errorf("logged %s", l.Text)
		}
		harness.Until(t, "CLOSED", func() bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			return p.opened[tt.name] == 0
		})
		if got := p.got(tt.name); len(got) != 1 {
			t.Errorf("%s: the processor got %q", tt.name, got)
		}
		again := open(t, w, tt.name)
		again.send(raw.Text("again"))
		again.expect(answered("again"))
	}
}

// The newer of two connections of an identity wins, and the old one's end does
// not touch it.
func TestReplaced(t *testing.T) {
	w, p := start(t)
	const id = "twice"
	old := open(t, w, id)
	old.send(raw.Text("from the old"))
	old.expect(answered("from the old"))
	for range 5 {
		fresh := open(t, w, id)
		old.expectClose(1008)
		fresh.send(raw.Text("from the new"))
		fresh.expect(answered("from the new"))
		old = fresh
	}
	if l := logged(t, w, "closed", id, "replaced"); l.Fields["code"] != 1008.0 {
		t.Errorf("logged %s", l.Text)
	}
	harness.Until(t, "OPENED and CLOSED to be balanced", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.opened[id] == 1
	})
	// Many at once. The handshaker sends the 101 before the loop has the connection,
	// so of two that open within microseconds the older may come last: one of them
	// stays, whichever it is.
	all := []*charger{old}
	for range 20 {
		all = append(all, open(t, w, id))
	}
	type end struct {
		c    *charger
		code int
	}
	ends := make(chan end, len(all))
	for _, c := range all {
		go func() {
			for {
				op, payload, err := c.frame()
				switch {
				case err != nil:
					ends <- end{c, 0}
				case op == raw.OpText:
					ends <- end{c, 1}
				case op == raw.OpClose:
					ends <- end{c, int(payload[0])<<8 | int(payload[1])}
				default:
					continue
				}
				return
			}
		}()
	}
	for range len(all) - 1 {
		e := <-ends
		if e.code != 1008 {
			t.Fatalf("a connection ended with %d, want 1008", e.code)
		}
		all = slices.DeleteFunc(all, func(c *charger) bool { return c == e.c })
	}
	all[0].send(raw.Text("last"))
	if e := <-ends; e.code != 1 {
		t.Errorf("the one that stays ended with %d, want an answer", e.code)
	}
}
