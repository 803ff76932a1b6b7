package gateway

import (
	"net"
	"testing"
)

// Whoever waits for its charger leaves the pass to another.
func TestTurnstile(t *testing.T) {
	passes := newPasses(1)
	near, far := net.Pipe()
	defer near.Close()
	slow := enterTurnstile(near, passes)
	read := make(chan error)
	go func() {
		_, err := slow.Read(make([]byte, 1))
		read <- err
	}()
	other := enterTurnstile(nil, passes) // would wait for ever if slow kept the pass
	other.leave()
	if _, err := far.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := <-read; err != nil {
		t.Fatal(err)
	}
	if len(passes.free) != 0 {
		t.Error("two compute")
	}
	slow.leave()
	go func() { _, _ = far.Write([]byte("x")) }()
	if _, err := slow.Read(make([]byte, 1)); err != nil || len(passes.free) != 1 {
		t.Errorf("after the handshake: %v, %d passes", err, len(passes.free))
	}
}
