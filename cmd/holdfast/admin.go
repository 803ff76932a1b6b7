package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// admin serves operators' commands: HTTP over a Unix socket.
type admin struct {
	listener net.Listener
	server   *http.Server
	log      *slog.Logger
	upgrades chan *upgradeRequest
	over     chan struct{} // closed when this process serves no commands any more
}

// upgradeRequest is one `holdfast upgrade` that waits for the outcome.
type upgradeRequest struct {
	lines chan progress
}

// phaseRolledBack is the last phase of an upgrade that changed nothing.
const phaseRolledBack = "rolled back"

func (r *upgradeRequest) tell(p progress) {
	select {
	case r.lines <- p:
	default: // whoever watches does not read; the outcome is what matters
	}
}

func (r *upgradeRequest) finish(err error) {
	last := progress{Phase: "done"}
	switch {
	case errors.Is(err, errGone):
		last = progress{Phase: "failed", Error: err.Error()}
	case err != nil:
		last = progress{Phase: phaseRolledBack, Error: err.Error()}
	}
	r.lines <- last
	close(r.lines)
}

func newAdmin(l net.Listener, log *slog.Logger) *admin {
	a := &admin{listener: l, log: log, upgrades: make(chan *upgradeRequest), over: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /upgrade", a.upgrade)
	a.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)}
	return a
}

func (a *admin) run() {
	if err := a.server.Serve(a.listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
		a.log.Error("admin socket", "err", err)
	}
}

// shutDown takes no more commands, and waits for those in progress.
func (a *admin) shutDown() {
	close(a.over)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = a.server.Shutdown(ctx)
}

// upgrade answers with one progress in JSON a line; the last tells the outcome.
func (a *admin) upgrade(w http.ResponseWriter, r *http.Request) {
	request := &upgradeRequest{lines: make(chan progress, 4096)}
	select {
	case a.upgrades <- request:
	case <-a.over:
		// By now the socket leads to another process, if there is one.
		w.Header().Set("Connection", "close")
		http.Error(w, "this process has been replaced, or ends", http.StatusServiceUnavailable)
		return
	case <-r.Context().Done():
		return
	}
	out := json.NewEncoder(w)
	for p := range request.lines {
		_ = out.Encode(p) // a watcher who leaves does not stop the upgrade
		_ = http.NewResponseController(w).Flush()
	}
}
