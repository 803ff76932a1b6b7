package conn

import (
	"bufio"
	"bytes"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
)

// Each tolerance forgives what it says, and nothing else does.
func TestTolerances(t *testing.T) {
	const longKey = "JCMCrKJENqcrTU9erFxGoiP5P8JhjeocERQs9vgR/Y4="
	for _, tt := range []struct {
		by       Tolerances
		edit     string
		protocol string // in the answer
	}{
		{TolerateConnection, "Connection:", "ocpp1.6"},
		{TolerateConnection, "Connection: keep-alive", "ocpp1.6"},
		{TolerateSlashes, "GET //ocpp///CP-1 HTTP/1.1", "ocpp1.6"},
		{TolerateSlashes, "GET /ocpp//CP-1// HTTP/1.1", "ocpp1.6"},
		{TolerateIdentityTwice, "GET /ocpp/CP-1/CP-1 HTTP/1.1", "ocpp1.6"},
		{TolerateIdentityTwice, "GET /ocpp/CP-1/CP-1/?x HTTP/1.1", "ocpp1.6"},
		{TolerateSubprotocol, "Sec-WebSocket-Protocol: OCPP1.6", "OCPP1.6"},
		{TolerateSubprotocol, `Sec-WebSocket-Protocol: ocpp1.5, "ocpp1.6"`, `"ocpp1.6"`},
		{TolerateSubprotocol, `Sec-WebSocket-Protocol: 'Ocpp1.6'`, `'Ocpp1.6'`},
		{TolerateKey, "Sec-WebSocket-Key: " + longKey, "ocpp1.6"},
		{TolerateKey, "Sec-WebSocket-Key: dGVzdA==", "ocpp1.6"},
		{TolerateKey, "Sec-WebSocket-Key: no base64!", "ocpp1.6"},
	} {
		for _, lenient := range []Tolerances{tt.by, ^tt.by} {
			h := testHandshake()
			h.Lenient = lenient
			nc := &script{in: strings.NewReader(request(tt.edit))}
			s, _, err := h.Serve(nc)
			if lenient != tt.by {
				if err == nil {
					t.Errorf("%q: let in without the tolerance", tt.edit)
				}
				continue
			}
			if err != nil || s.Identity != "CP-1" || s.Path.String() != "/ocpp/" || s.Subprotocol.String() != "ocpp1.6" {
				t.Errorf("%q: %v, %+v", tt.edit, err, s)
				continue
			}
			resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(nc.out.String())), nil)
			if err != nil || resp.Header.Get("Sec-WebSocket-Protocol") != tt.protocol {
				t.Errorf("%q: %v, answered %q", tt.edit, err, nc.out.String())
			}
		}
	}
}

// What is still no charger.
func TestTolerancesEnd(t *testing.T) {
	for _, edit := range []string{
		"Sec-WebSocket-Key:",
		`Sec-WebSocket-Protocol: "ocpp1.6`,
		`Sec-WebSocket-Protocol: ""`,
		"GET /ocpp/CP-1/CP-2 HTTP/1.1",
		"GET /ocpp/CP-1/CP-1/CP-1 HTTP/1.1",
		"GET /ocpp// HTTP/1.1",
		"GET /ocpp/CP%2F%2F1 HTTP/1.1",
		"Upgrade:",
	} {
		h := testHandshake()
		h.Lenient = ^Tolerances(0)
		if _, _, err := h.Serve(&script{in: strings.NewReader(request(edit))}); err == nil {
			t.Errorf("%q: let in", edit)
		}
	}
}

// With TolerateText, what is not UTF-8 arrives unaltered and marked, however it is cut
// into frames and reads; without, it is a fault.
func TestTolerateText(t *testing.T) {
	const latin1 = "[2,\"1\",\"BootNotification\",{\"chargePointVendor\":\"S\xe4ulen\"}]"
	cut := latin1[:len(latin1)-1] + "\xc3" // ends amid a sequence
	for _, text := range []string{latin1, cut, "\xff", strings.Repeat("x", 200) + "\xff" + strings.Repeat("y", 70_000)} {
		for _, sizes := range [][]int{{len(text)}, {len(text) / 2, len(text) - len(text)/2}, {1, 0, len(text) - 1}} {
			sent := stream(textFragments(text, sizes)...)
			for step := 1; step <= len(sent); step += max(1, len(sent)/40) {
				var d decoder
				var got []event
				if fault := feed(&d, sent, step, bounds{maxMessage: 1 << 20}, nil); fault == nil || fault.Code != CodeInvalidData {
					t.Fatalf("%.20q by %d: %v without the tolerance", text, step, fault)
				}
				d = decoder{}
				if fault := feed(&d, sent, step, bounds{maxMessage: 1 << 20, anyText: true}, &got); fault != nil {
					t.Fatalf("%.20q by %d: %v", text, step, fault)
				}
				if len(got) != 1 || string(got[0].payload) != text || got[0].kind() != MalformedText || d.part != nil {
					t.Fatalf("%.20q by %d: %d events", text, step, len(got))
				}
			}
		}
	}
}

// textFragments is text as one message in frames of those sizes.
func textFragments(text string, sizes []int) (all []clientFrame) {
	op := opText
	for i, n := range sizes {
		all = append(all, clientFrame{op: op, more: i < len(sizes)-1, payload: []byte(text[:n])})
		text, op = text[n:], opContinuation
	}
	return all
}

// feed decodes stream in reads of step bytes.
func feed(d *decoder, sent []byte, step int, lim bounds, got *[]event) *Close {
	for part := range slices.Chunk(bytes.Clone(sent), step) { // it is unmasked in place
		b := part
		for len(b) > 0 {
			ev, rest, ok, fault := d.next(b, lim)
			if fault != nil {
				return fault
			}
			if ok && got != nil {
				ev.payload = bytes.Clone(ev.payload)
				*got = append(*got, ev)
			}
			b = rest
		}
	}
	return nil
}

// docs/configuration.md lists each tolerance with its source.
func TestTolerancesAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range ToleranceTable {
		row := "| `lenient=" + tt.Name + "` | " + tt.What + " | " + tt.Source + " |"
		if !strings.Contains(string(page), row) {
			t.Errorf("docs/configuration.md lacks\n%s", row)
		}
	}
}
