package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"

	"holdfast/cmd/holdfast-bridge/route"
)

// adminListener listens on a Unix socket for the user and the group of this process. A
// socket that nobody listens on is replaced.
func adminListener(path string) (net.Listener, error) {
	if c, err := net.Dial("unix", path); err == nil {
		_ = c.Close()
		return nil, fmt.Errorf("%s: another process listens there", path)
	} else if errors.Is(err, syscall.ECONNREFUSED) {
		_ = os.Remove(path)
	}
	before := syscall.Umask(0o117)
	defer syscall.Umask(before)
	return net.Listen("unix", path)
}

// adminHandler answers GET /status; POST /moves with routes: whom they would move; and
// POST /reload.
func adminHandler(r *reloader) http.Handler {
	mux := http.NewServeMux()
	b := r.b
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { answer(w, b.Status()) })
	mux.HandleFunc("POST /reload", func(w http.ResponseWriter, _ *http.Request) {
		var outcome reloaded
		var err error
		if outcome.Moves, err = r.reload(); err != nil {
			outcome.Fault = err.Error()
		}
		answer(w, outcome)
	})
	mux.HandleFunc("POST /moves", func(w http.ResponseWriter, r *http.Request) {
		var routes route.Set
		if err := json.NewDecoder(io.LimitReader(r.Body, 16<<20)).Decode(&routes); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answer(w, b.Moves(&routes))
	})
	return mux
}

// reloaded is the answer to POST /reload.
type reloaded struct {
	Moves int    `json:"moves"`
	Fault string `json:"fault,omitempty"`
}

func answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body)
}
