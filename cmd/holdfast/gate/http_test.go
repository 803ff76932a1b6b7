package gate

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
)

// serve answers requests behind g. over is closed when it has returned.
func serve(t *testing.T, g *Gate, handler http.HandlerFunc) (_ net.Listener, _ *http.Server, over <-chan struct{}) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	s := NewHTTPServer(handler, log)
	behind, returned := g.Listener(l), make(chan struct{})
	go func() {
		defer close(returned)
		ServeHTTP(s, behind, log)
	}()
	t.Cleanup(func() { _ = s.Close() })
	return l, s, returned
}

func get(l net.Listener) (string, error) {
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Get("http://" + l.Addr().String())
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

// answers asks on a goroutine.
func answers(l net.Listener) <-chan string {
	answer := make(chan string, 1)
	go func() {
		text, err := get(l)
		if err != nil {
			text = "error: " + err.Error()
		}
		answer <- text
	}()
	return answer
}

func hello(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, "hello") }

// A question that comes while the gate is shut is answered by whoever serves when
// it opens.
func TestHTTPWaitsBehindAShutGate(t *testing.T) {
	g := New()
	l, _, _ := serve(t, g, hello)
	if text, err := get(l); text != "hello" {
		t.Fatal(text, err)
	}
	g.Close()
	eventually(t, "quiet", isQuiet(g))
	answer := answers(l)
	nothing(t, "answered behind a shut gate", answer)
	g.Reopen()
	if text := <-answer; text != "hello" {
		t.Error(text)
	}
}

// A question that is being answered keeps the gate from being quiet, unless it is
// passed.
func TestHTTPUnderWay(t *testing.T) {
	g := New()
	inside, let := make(chan *Conn, 2), make(chan struct{})
	l, _, _ := serve(t, g, func(w http.ResponseWriter, r *http.Request) {
		inside <- ConnOf(r)
		<-let
		hello(w, r)
	})
	first := answers(l)
	conn := <-inside
	g.Close()
	eventually(t, "parked", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.parked == 1
	})
	if g.Quiet() {
		t.Error("quiet, though a question is being answered")
	}
	conn.Passed()
	conn.Passed() // counts once
	if !g.Quiet() {
		t.Error("an upgrade waits for a question that was passed")
	}
	close(let)
	if text := <-first; text != "hello" {
		t.Error(text)
	}
	eventually(t, "still quiet", isQuiet(g))
}

// Operators are answered while the gateway shuts down, until the server ends.
func TestHTTPAfterTheEnd(t *testing.T) {
	g := New()
	l, s, over := serve(t, g, hello)
	g.End()
	if text, err := get(l); text != "hello" {
		t.Fatal(text, err)
	}
	ShutDownHTTP(s)
	ended(t, "serving", over)
}

// A server behind a gate that stays shut can end.
func TestHTTPCloseBehindAShutGate(t *testing.T) {
	g := New()
	_, s, over := serve(t, g, hello)
	g.Close()
	eventually(t, "quiet", isQuiet(g))
	ShutDownHTTP(s)
	ended(t, "serving", over)
}

func TestConnOfNoGate(t *testing.T) {
	if c := ConnOf(new(http.Request)); c != nil {
		t.Error(c)
	}
}
