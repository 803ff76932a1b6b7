package admin

import (
	"fmt"
	"net/http"
	"time"

	"holdfast/cmd/holdfast/gate"
)

// BlockStatus is somebody who may not connect.
type BlockStatus struct {
	Target  string     `json:"target"`            // an identity, or a range of addresses
	Address bool       `json:"address,omitempty"` // the latter
	Until   *time.Time `json:"until,omitempty"`   // nil: for ever
	Reason  string     `json:"reason,omitempty"`
}

// block answers POST /block.
func (s *Server) block(w http.ResponseWriter, r *http.Request) {
	target, reason := r.FormValue("target"), r.FormValue("reason")
	var until time.Time
	if text := r.FormValue("for"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil || d <= 0 {
			http.Error(w, fmt.Sprintf("for %q: must be a time, such as 1h", text), http.StatusBadRequest)
			return
		}
		until = time.Now().Add(d).Round(time.Second)
	}
	s.note(gate.ConnOf(r), "block", "target", target, "for", r.FormValue("for"), "reason", reason)
	closed, err := s.gateway.Block(r.Context(), target, until, reason)
	writeResult(w, map[string]int{"closed": closed}, err)
}

// unblock answers POST /unblock.
func (s *Server) unblock(w http.ResponseWriter, r *http.Request) {
	s.note(gate.ConnOf(r), "unblock", "target", r.FormValue("target"))
	writeResult(w, struct{}{}, s.gateway.Unblock(r.FormValue("target")))
}

// blocks answers GET /blocks.
func (s *Server) blocks(w http.ResponseWriter, _ *http.Request) {
	all, err := s.gateway.Blocks()
	writeResult(w, all, err)
}
