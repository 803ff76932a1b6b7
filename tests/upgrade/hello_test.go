package upgrade

import (
	"encoding/json"
	"strings"
	"testing"

	"holdfast/tests/harness"
	"holdfast/tests/raw"
	"holdfast/unixipc"
)

// welcomed joins, and returns what WELCOME said.
func welcomed(t *testing.T, w *harness.World, h unixipc.HelloBody) (p *processor, body unixipc.WelcomeBody) {
	t.Helper()
	p = dialProcessor(t, w)
	text, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	p.send(bytesOf(unixipc.Frame{Type: unixipc.Hello, Ref: unixipc.Version, Payload: text}))
	if err := json.Unmarshal(p.next(unixipc.Welcome, "").Payload, &body); err != nil {
		t.Fatal(err)
	}
	return p, body
}

// An instance is the same in every process of one gateway, on every loop, and
// another in another gateway: it shows a processor that connections are gone.
func TestInstance(t *testing.T) {
	t.Parallel()
	w := harness.New(t, "-loops", "2")
	_, first := welcomed(t, w, unixipc.HelloBody{Name: "p"})
	_, second := welcomed(t, w, unixipc.HelloBody{Name: "p", Loop: 1})
	for range 2 {
		w.MustUpgrade()
	}
	_, after := welcomed(t, w, unixipc.HelloBody{Name: "p", Loop: 1})
	if first.Instance == "" || second.Instance != first.Instance || after.Instance != first.Instance {
		t.Errorf("instances %q, %q and, upgraded, %q", first.Instance, second.Instance, after.Instance)
	}
	_, other := welcomed(t, harness.New(t), unixipc.HelloBody{Name: "p"})
	if other.Instance == first.Instance {
		t.Error("two gateways have one instance")
	}
}

// A subprotocol that no charger can have is warned of. A version that is not spoken
// names those that are, and another fault names none.
func TestHelloThatIsNotAsItWasMeant(t *testing.T) {
	t.Parallel()
	w := harness.New(t)
	_, body := welcomed(t, w, unixipc.HelloBody{Name: "p", Subprotocols: []string{"ocpp1.6", "ocpp1.7"}})
	if len(body.Warnings) != 1 || !strings.Contains(body.Warnings[0], `"ocpp1.7"`) {
		t.Errorf("warnings %q", body.Warnings)
	}
	for _, tt := range []struct {
		version  uint64
		body     string
		versions int
	}{
		{unixipc.Version + 1, `{"name":"p"}`, 1},
		{unixipc.Version, `{"name":""}`, 0},
		{unixipc.Version, `{"name":"p","charger_window":-1}`, 0},
		{unixipc.Version, `{`, 0},
	} {
		p := dialProcessor(t, w)
		p.send(bytesOf(unixipc.Frame{Type: unixipc.Hello, Ref: tt.version, Payload: []byte(tt.body)}))
		f := p.next(unixipc.Refused, "")
		var why unixipc.RefusedBody
		if err := json.Unmarshal(f.Payload, &why); err != nil || len(why.Versions) != tt.versions || why.Why == "" {
			t.Errorf("version %d, %s: %s", tt.version, tt.body, f.Payload)
		}
	}
}

// With a charger_window of 1 the next delivery of a charger comes when the one before
// is acknowledged, in the new process, too.
func TestChargerWindow(t *testing.T) {
	t.Parallel()
	w := harness.New(t)
	p, body := welcomed(t, w, unixipc.HelloBody{Name: "p", ChargerWindow: 1})
	if body.ChargerWindow != 1 {
		t.Errorf("charger_window %d", body.ChargerWindow)
	}
	c := open(t, w, "CP-1")
	f := p.next(unixipc.Opened, "CP-1")
	texts := []string{"a", "b", "c", "d"}
	for _, text := range texts {
		c.send(raw.Masked(raw.Fin|raw.OpText, text))
	}
	c.send(raw.Masked(raw.Fin|raw.OpPing, "read"))
	c.expect(raw.OpPong, "read")
	for i, text := range texts {
		if i == 2 {
			w.MustUpgrade()
		}
		// The gateway answers in order: what it had to deliver came before.
		p.send(bytesOf(unixipc.Frame{Type: unixipc.Send, Ref: uint64(i), Key: []byte("CP-2"), Payload: []byte("x")}))
		p.result("CP-2", uint64(i))
		if len(p.kept) > 0 {
			t.Fatalf("before %q was to come, %v came", text, p.kept)
		}
		p.ack(f, "")
		f = p.message("CP-1", text)
	}
}
