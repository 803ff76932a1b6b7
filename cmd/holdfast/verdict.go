package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"holdfast/relay"
	"holdfast/unixipc"
)

// verdict asks a processor whether a charger may come in, and waits until it
// has answered, or the deadline of ctx. It is for goroutines other than the
// loop's. Where the links have been handed over, the new process asks, by the
// admin socket.
func (w *world) verdict(ctx context.Context, body unixipc.AuthorizeBody, adminSocket string) (v unixipc.VerdictBody, err error) {
	type word struct {
		verdict unixipc.VerdictBody
		err     error
	}
	said := make(chan word, 1)
	deadline, _ := ctx.Deadline()
	w.loop.Post(func() {
		if w.late != nil {
			said <- word{err: relay.ErrMoved}
			return
		}
		w.relay.SetNow(time.Now())
		w.relay.Authorize(body, body.Subprotocol, deadline, func(v unixipc.VerdictBody, err error) { said <- word{v, err} })
	})
	select {
	case got := <-said:
		if errors.Is(got.err, relay.ErrMoved) {
			return verdictElsewhere(ctx, body, adminSocket)
		}
		return got.verdict, got.err
	case <-ctx.Done(): // the relay's deadline is the same
		return v, relay.ErrNoVerdict
	}
}

// verdictElsewhere asks the process that has taken over.
func verdictElsewhere(ctx context.Context, body unixipc.AuthorizeBody, adminSocket string) (v unixipc.VerdictBody, err error) {
	c := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", adminSocket)
		},
	}}
	b, err := json.Marshal(body)
	if err != nil {
		return v, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://gateway/authorize", bytes.NewReader(b))
	if err != nil {
		return v, err
	}
	deadline, _ := ctx.Deadline()
	req.Header.Set(deadlineHeader, deadline.Format(time.RFC3339Nano))
	resp, err := c.Do(req)
	if err != nil {
		return v, fmt.Errorf("ask the process that has taken over: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return v, fmt.Errorf("the process that has taken over answered %s", resp.Status)
	}
	return v, json.NewDecoder(resp.Body).Decode(&v)
}

// deadlineHeader has the moment until which a verdict is of use.
const deadlineHeader = "Holdfast-Deadline"

// authorize serves handshakes that are under way in the process before.
func (a *admin) authorize(rw http.ResponseWriter, r *http.Request) {
	var body unixipc.AuthorizeBody
	deadline, err := time.Parse(time.RFC3339Nano, r.Header.Get(deadlineHeader))
	if err == nil {
		err = json.NewDecoder(http.MaxBytesReader(rw, r.Body, unixipc.MaxControl)).Decode(&body)
	}
	if err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithDeadline(r.Context(), deadline)
	defer cancel()
	worlds := a.g.worlds
	v, err := worlds[relay.LoopOf(body.Identity, len(worlds))].verdict(ctx, body, a.g.cfg.Admin)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusGatewayTimeout)
		return
	}
	_ = json.NewEncoder(rw).Encode(v)
}
