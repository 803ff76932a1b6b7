package bridge

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/tests/central"
	"holdfast/tests/pki"
)

// Two bridges share the chargers. Those that move, when one comes or leaves, have one
// connection to the central system at any time that lasts.
func TestTwoBridges(t *testing.T) {
	w := newWorld(t, central.Config{})
	first := w.bridge("-name", "first")
	var all []*charger
	for i := range 20 {
		all = append(all, w.charger(fmt.Sprint("CP", i)))
	}
	w.until("20 connections", func() bool { return w.cs.Open() == 20 })
	second := w.bridge("-name", "second")
	round := 0
	settled := func(what string) {
		t.Helper()
		round++
		for i, c := range all {
			if got := c.call(fmt.Sprint(round, "-", i), "Heartbeat"); !strings.HasPrefix(got, `[3,"`) {
				t.Errorf("%s: %s", what, got)
			}
		}
		w.until("one connection each", func() bool { return w.cs.Open() == 20 })
		before := w.cs.Connections.Load()
		time.Sleep(300 * time.Millisecond)
		if n := w.cs.Connections.Load(); n != before || w.cs.Open() != 20 {
			t.Errorf("%s: %d more connections, %d are open", what, n-before, w.cs.Open())
		}
	}
	w.until("chargers of the second", func() bool { return second.Log.Contains("connected to the central system") })
	settled("with a second bridge")
	if n := w.cs.Connections.Load(); n == 20 || n == 40 {
		t.Errorf("%d connections: all have moved, or none", n)
	}
	w.Terminate(first)
	settled("after the first has left")
	w.Kill(second)
	w.bridge("-name", "third")
	settled("after the second was killed")
}

// The gateway gives what one bridge has given back to the other, and back again: attempts
// are counted on.
func TestAttemptsOfTwoBridges(t *testing.T) {
	var w *world
	w = newWorld(t, central.Config{Answer: func(_ *central.Conn, id, action string, _ []byte) [][]byte {
		if id == "mute" {
			return nil
		}
		return [][]byte{w.cs.Usual(id, action)}
	}})
	args := []string{"-answer-timeout", "500ms", "-attempts", "2"}
	w.bridge(append(args, "-name", "first")...)
	w.bridge(append(args, "-name", "second")...)
	c := w.charger("CP1")
	if got := c.call("mute", "Authorize"); !strings.HasPrefix(got, `[4,"mute","InternalError"`) {
		t.Error(got)
	}
	if n := w.cs.Seen("mute"); n < 2 || n > 3 {
		t.Errorf("the CALL came %d times", n)
	}
	if got := c.call("next", "Heartbeat"); !strings.HasPrefix(got, `[3,"next"`) {
		t.Error(got)
	}
}

// A central system on wss that wants to see a certificate.
func TestCentralSystemOverTLS(t *testing.T) {
	ca, err := pki.NewAuthority("central systems")
	if err != nil {
		t.Fatal(err)
	}
	bridges, err := pki.NewAuthority("bridges")
	if err != nil {
		t.Fatal(err)
	}
	server, err := ca.Issue(pki.Request{CommonName: "central", Names: []string{"central.example"}})
	if err != nil {
		t.Fatal(err)
	}
	client, err := bridges.Issue(pki.Request{CommonName: "bridge"})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, central.Config{})
	secure, err := central.New("", central.Config{TLS: &tls.Config{Certificates: []tls.Certificate{server.TLS}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: bridges.Pool()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(secure.Kill)
	caFile := filepath.Join(w.dir, "ca.pem")
	if err := os.WriteFile(caFile, ca.PEM, 0o600); err != nil {
		t.Fatal(err)
	}
	cert, key, err := client.Write(w.dir, "bridge")
	if err != nil {
		t.Fatal(err)
	}
	w.bridge("-route", "* wss://"+secure.Address()+"/{identity}", "-upstream-ca", caFile, "-upstream-server-name", "central.example", "-upstream-cert", cert, "-upstream-key", key)
	c := w.charger("CP1")
	if got := c.call("a", "Heartbeat"); !strings.HasPrefix(got, `[3,"a"`) {
		t.Error(got)
	}
}
