package hostile

import (
	"strings"
	"testing"

	"holdfast/tests/raw"
)

// Without -lenient a text that is not UTF-8 ends the connection. With it the processor
// gets the very bytes, marked, before an upgrade and behind one amid the message, and
// its answer is text.
func TestTextThatIsNotUTF8(t *testing.T) {
	const text = "[2,\"1\",\"BootNotification\",{\"chargePointVendor\":\"S\xe4ulen\"}]"
	t.Run("refused", func(t *testing.T) {
		w, _ := start(t)
		c := connect(t, w)
		c.send(raw.Request("latin"))
		c.response()
		c.send(raw.Text(text))
		c.expectClose(1007)
	})
	t.Run("tolerated", func(t *testing.T) {
		w, p := start(t, "-lenient=text")
		c := connect(t, w)
		c.send(raw.Request("latin"))
		c.response()
		c.send(raw.Text(text))
		c.expect(answered("malformed"))
		// The upgrade comes right behind what cannot be UTF-8 any more.
		stream := raw.Masked(raw.OpText, text) + raw.Masked(raw.Fin|raw.OpContinuation, " and more")
		cut := len(raw.Masked(raw.OpText, text)) - len(text) + strings.IndexByte(text, '\xe4') + 2
		c.send(stream[:cut])
		w.MustUpgrade()
		c.send(stream[cut:])
		c.expect(answered("malformed"))
		if got := p.got("latin"); len(got) != 2 || got[0] != text || got[1] != text+" and more" {
			t.Errorf("the processor got %q", got)
		}
	})
}

// A charger of several faults connects with -lenient and not without.
func TestLenientHandshakes(t *testing.T) {
	strict, _ := start(t)
	lenient, _ := start(t, "-lenient")
	for _, tt := range []struct {
		request, identity, why, protocol string
	}{
		{without(raw.Request("CP-1"), "Connection", ""), "CP-1", "Connection: Upgrade", "ocpp1.6"},
		{strings.Replace(raw.Request("CP-2"), "/ocpp/", "//ocpp//", 1), "", "no such path", "ocpp1.6"},
		{raw.Request("CP-3/CP-3"), "", "no such path", "ocpp1.6"},
		{without(raw.Request("CP-4"), "Sec-WebSocket-Protocol", "Sec-WebSocket-Protocol: OCPP1.6"), "CP-4", "subprotocol", "OCPP1.6"},
		{without(raw.Request("CP-5"), "Sec-WebSocket-Key", "Sec-WebSocket-Key: c2hvcnQ="), "CP-5", "Sec-WebSocket-Key", "ocpp1.6"},
	} {
		c := connect(t, strict)
		c.send(tt.request)
		c.response()
		if l := logged(t, strict, "refused", tt.identity, tt.why); l.String("path") == "" {
			t.Errorf("the log has no path: %s", l.Text)
		}
		c = connect(t, lenient)
		c.send(tt.request)
		if resp := c.response(); resp.StatusCode != 101 || resp.Header.Get("Sec-WebSocket-Protocol") != tt.protocol {
			t.Errorf("%q: %s, %v", tt.request, resp.Status, resp.Header)
		}
		c.send(raw.Text("hello"))
		c.expect(answered("hello"))
	}
}
