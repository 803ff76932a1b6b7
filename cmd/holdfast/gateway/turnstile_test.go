package gateway

import (
	"net"
	"testing"
)

// Whoever waits for its charger, to send something or to take something, leaves the pass
// to another: a charger that does neither holds up itself alone.
func TestTurnstile(t *testing.T) {
	for name, do := range map[string]struct{ near, far func(net.Conn) error }{
		"read":  {receive, send},
		"write": {send, receive},
	} {
		t.Run(name, func(t *testing.T) {
			passes := newPasses(1)
			near, far := net.Pipe()
			defer near.Close()
			defer far.Close()
			slow := enterTurnstile(near, passes)
			done := make(chan error)
			go func() { done <- do.near(slow) }()
			other := enterTurnstile(nil, passes) // would wait for ever if slow kept the pass
			if err := do.far(far); err != nil {
				t.Fatal(err)
			}
			select {
			case <-done:
				t.Error("two compute")
			default:
			}
			other.leave()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			slow.leave()
			if len(passes.free) != 1 {
				t.Errorf("%d passes are left", len(passes.free))
			}
			go func() { done <- do.far(far) }()
			if err := do.near(slow); err != nil || len(passes.free) != 1 {
				t.Errorf("after the handshake: %v, %d passes", err, len(passes.free))
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

func send(nc net.Conn) error {
	_, err := nc.Write([]byte("x"))
	return err
}

func receive(nc net.Conn) error {
	_, err := nc.Read(make([]byte, 1))
	return err
}
