package conn

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// Any request ends in a connection with a valid state, in a refusal that the
// charger was told, or in silence when it was cut short; whatever the packets.
func FuzzHandshake(f *testing.F) {
	f.Add(request())
	f.Add(request("Sec-WebSocket-Protocol:"))
	f.Add(request("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10"))
	f.Add(request() + "early")
	for _, r := range refusals {
		if len(r.request) < 1000 {
			f.Add(r.request)
		}
	}
	f.Fuzz(func(t *testing.T, in string) {
		h := testHandshake()
		nc := &script{in: strings.NewReader(in)}
		s, early, err := h.Serve(nc)
		out := nc.out.String()
		var r *Refusal
		switch {
		case err == nil:
			if CheckIdentity(s.Identity) != nil || !slices.Contains(h.Subprotocols, s.Subprotocol.String()) || s.Path.String() != "/ocpp/" || !strings.HasSuffix(in, string(early)) && len(in) < 2048 {
				t.Errorf("%+v, %q early", s, early)
			}
			if !strings.HasPrefix(out, "HTTP/1.1 101 ") || strings.Count(out, "\r\n\r\n") != 1 || !strings.HasSuffix(out, "\r\n\r\n") {
				t.Errorf("answered %q", out)
			}
		case errors.As(err, &r):
			if r.Status != 0 && !strings.HasPrefix(out, fmt.Sprintf("HTTP/1.1 %d ", r.Status)) || r.Why == "" {
				t.Errorf("refused with %+v, answered %q", r, out)
			}
		case out != "":
			t.Errorf("%v, answered %q", err, out)
		}
		again := &script{in: iotest.OneByteReader(strings.NewReader(in))}
		if _, _, err2 := h.Serve(again); again.out.String() != out {
			t.Errorf("byte by byte: %v, %q\nwhole: %v, %q", err2, again.out.String(), err, out)
		}
	})
}
