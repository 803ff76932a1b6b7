package hostile

import (
	"bytes"
	"compress/flate"
	"strings"
	"testing"

	"holdfast/tests/harness"
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
		{"v-rsv1", masked(fin|rsv1|opText, "x"), 1002, "compressed"},
		{"v-rsv2", masked(fin|0x20|opText, "x"), 1002, "reserved bit"},
		{"v-rsv3", masked(fin|0x10|opText, "x"), 1002, "reserved bit"},
		{"v-opcode", masked(fin|0x5, "x"), 1002, "opcode"},
		{"v-control-opcode", masked(fin|0xf, ""), 1002, "opcode"},
		{"v-continuation", masked(fin|opContinuation, "x"), 1002, "continuation"},
		{"v-interleaved", masked(opText, "x") + text("y"), 1002, "inside"},
		{"v-ping-fragment", masked(opPing, "x"), 1002, "fragmented control"},
		{"v-ping-long", masked(fin|opPing, strings.Repeat("x", 126)), 1002, "125"},
		{"v-length", header(fin|opBinary, 1<<63), 1002, "top bit"},
		{"v-close-one", masked(fin|opClose, "\x03"), 1002, "one byte"},
		{"v-close-code", masked(fin|opClose, closing(1005, "")), 1002, "code"},
		{"v-close-reason", masked(fin|opClose, closing(1000, "\xff")), 1007, "UTF-8"},
		{"v-utf8", text("\xed\xa0\x80"), 1007, "UTF-8"},
		{"v-utf8-early", header(fin|opText, 1000) + "\x92", 1007, "UTF-8"}, // 0xff masked with m
		{"v-utf8-cut", masked(opText, "\xe6") + masked(fin|opContinuation, "\x97"), 1007, "UTF-8"},
		{"v-big", header(fin|opBinary, maxMessage+1), 1009, "limit"},
		{"v-big-fragments", masked(opBinary, half) + masked(opContinuation, half) + header(fin|opContinuation, 1), 1009, "limit"},
		{"v-http", request("again"), 1002, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := open(t, w, tt.name)
			c.send(text("before"))
			c.expect(answered("before"))
			c.send(tt.frames)
			c.expectClose(tt.code)
			if l := logged(t, w, "closed", tt.name, tt.why); l.Fields["code"] != float64(tt.code) || l.String("by") != "gateway" {
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
		{"z-garbage", masked(fin|rsv1|opText, "\xff\xff\xff\xff"), 1007},
		{"z-empty", masked(fin|rsv1|opText, ""), 1007},
		{"z-utf8", masked(fin|rsv1|opText, deflated(t, "\xff")), 1007},
		{"z-bomb", masked(fin|rsv1|opBinary, deflated(t, strings.Repeat("\x00", 8<<20))), 1009},
		{"z-one-more", masked(fin|rsv1|opBinary, deflated(t, strings.Repeat("x", maxMessage+1))), 1009},
		{"z-continuation", masked(rsv1|opText, "x") + masked(fin|rsv1|opContinuation, "x"), 1002},
		{"z-ping", masked(fin|rsv1|opPing, "x"), 1002},
	} {
		c := open(t, w, tt.name, deflate)
		c.send(masked(fin|rsv1|opText, deflated(t, "before")))
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
	c.send(text(longest))
	c.expect(answered("%s", longest))
	c.send(masked(opText, longest[:70_000]))
	for rest := longest[70_000:]; ; {
		n := min(len(rest), 100_000)
		if n == len(rest) {
			c.send(masked(fin|opContinuation, rest))
			break
		}
		c.send(masked(opContinuation, rest[:n]), masked(fin|opPing, "amid"))
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
		{"e-half-frame", func(c *charger) { c.send(text("cut")[:7]); _ = c.CloseWrite(); c.expectEnd() }, "charger"},
		{"e-reset", func(c *charger) { c.reset() }, "network"},
		{"e-reset-frame", func(c *charger) { c.send(text("cut")[:7]); c.reset() }, "network"},
		{"e-reset-header", func(c *charger) { c.send(text("cut")[:1]); c.reset() }, "network"},
		{"e-reset-message", func(c *charger) { c.send(masked(opText, "cut")); c.reset() }, "network"},
	} {
		c := open(t, w, tt.name)
		c.send(text("whole"))
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
		again.send(text("again"))
		again.expect(answered("again"))
	}
}

// The newer of two connections of an identity wins, and the old one's end does
// not touch it.
func TestReplaced(t *testing.T) {
	w, p := start(t)
	const id = "twice"
	old := open(t, w, id)
	old.send(text("from the old"))
	old.expect(answered("from the old"))
	for range 5 {
		fresh := open(t, w, id)
		old.expectClose(1008)
		fresh.send(text("from the new"))
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
	// Many at once: one of them is entered at the end, and it is served.
	for range 20 {
		old = open(t, w, id)
	}
	old.send(text("last"))
	old.expect(answered("last"))
}
