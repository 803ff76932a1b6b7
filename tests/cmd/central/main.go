// Central is a central system for demonstrations: it answers chargers, calls them, and
// notes both in a file that outlives a SIGKILL.
//
//	central -listen 127.0.0.1:9000 -ledger FILE -calls 50   # until SIGHUP: then it only answers
//
// It prints "ready" when it listens. Lines of the file: "came ID" for a CALL of a charger,
// "asked ID", "answered ID", "refused ID" and "cut ID" (the connection ended first) for one
// to a charger, and "start".
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"flag"
	"fmt"
	mrand "math/rand/v2"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"holdfast/tests/central"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "`address`")
	path := flag.String("ledger", "", "`file` to append to")
	calls := flag.Float64("calls", 0, "CALLs to chargers, per second")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *listen, *path, *calls); err != nil {
		fmt.Fprintln(os.Stderr, "central:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, listen, path string, calls float64) error {
	ledger, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer ledger.Close()
	note := func(what, id string) { fmt.Fprintf(ledger, "%s %s\n", what, id) } // one write, unbuffered
	note("start", "")
	var cs *central.Central
	var mu sync.Mutex
	under := map[*central.Conn]map[string]bool{} // CALLs without an answer
	settle := func(c *central.Conn, what, id string) {
		mu.Lock()
		defer mu.Unlock()
		if under[c][id] {
			delete(under[c], id)
			note(what, id)
		}
	}
	cs, err = central.New(listen, central.Config{
		Answer: func(_ *central.Conn, id, action string, _ []byte) [][]byte {
			note("came", id)
			return [][]byte{cs.Usual(id, action)}
		},
		Ended: func(c *central.Conn) {
			mu.Lock()
			defer mu.Unlock()
			for id := range under[c] {
				note("cut", id)
			}
			delete(under, c)
		},
		Answered: func(c *central.Conn, message []byte) {
			var parts []json.RawMessage
			var id string
			if json.Unmarshal(message, &parts) != nil || len(parts) < 3 || json.Unmarshal(parts[1], &id) != nil {
				return
			}
			if bytes.Equal(parts[0], []byte("3")) {
				settle(c, "answered", id)
			} else {
				settle(c, "refused", id)
			}
		},
	})
	if err != nil {
		return err
	}
	fmt.Println("ready", cs.Address())
	if calls <= 0 {
		<-ctx.Done()
		return nil
	}
	enough := make(chan os.Signal, 1)
	signal.Notify(enough, syscall.SIGHUP)
	ticker := time.NewTicker(time.Duration(float64(time.Second) / calls))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-enough:
			ticker.Stop()
		case <-ticker.C:
			all := cs.Conns()
			if len(all) == 0 {
				continue
			}
			c, id := all[mrand.IntN(len(all))], rand.Text()
			mu.Lock()
			if under[c] == nil {
				under[c] = map[string]bool{}
			}
			under[c][id] = true
			note("asked", id)
			mu.Unlock()
			if err := c.Call(id, "TriggerMessage", map[string]string{"requestedMessage": "Heartbeat"}); err != nil {
				settle(c, "cut", id)
			}
		}
	}
}
