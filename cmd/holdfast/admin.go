package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"

	"holdfast/cmd/holdfast/config"
	"holdfast/cmd/holdfast/gate"
)

// admin serves operators' commands: HTTP over a Unix socket.
type admin struct {
	g        *gateway
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

func newAdmin(g *gateway, l net.Listener) *admin {
	a := &admin{g: g, listener: g.gate.Listener(l), log: g.log, upgrades: make(chan *upgradeRequest), over: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /upgrade", a.upgrade)
	mux.HandleFunc("GET /status", a.status)
	mux.HandleFunc("GET /chargers", a.chargers)
	mux.HandleFunc("POST /drain", a.drain)
	mux.HandleFunc("GET /link", a.link)
	mux.HandleFunc("POST /authorize", a.authorize)
	a.server = gate.NewHTTPServer(mux, g.log)
	return a
}

func (a *admin) run() { gate.ServeHTTP(a.server, a.listener, a.log) }

// shutDown takes no more commands, and waits for those in progress.
func (a *admin) shutDown() {
	close(a.over)
	gate.ShutDownHTTP(a.server)
}

// upgrade answers with one progress in JSON a line; the last tells the outcome.
func (a *admin) upgrade(w http.ResponseWriter, r *http.Request) {
	c := gate.ConnOf(r)
	c.Passed() // an upgrade does not wait for itself
	a.note(c, "upgrade")
	request := &upgradeRequest{lines: make(chan progress, 4096)}
	select {
	case a.upgrades <- request:
	case <-a.over:
		replacedHere(w)
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

// errReplaced says that another process has taken over, or is about to.
var errReplaced = errors.New("this process has been replaced, or ends")

// replacedHere has whoever asked ask again: by now the socket leads to another
// process, if there is one.
func replacedHere(w http.ResponseWriter) {
	http.Error(w, errReplaced.Error(), http.StatusServiceUnavailable)
}

// answer tells the error of a command, or its result in JSON.
func answer(w http.ResponseWriter, result any, err error) {
	switch {
	case errors.Is(err, errReplaced), errors.Is(err, errNoTurn):
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	case err != nil:
		http.Error(w, err.Error(), http.StatusNotFound)
	default:
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(result) // to somebody who has left
	}
}

// note logs who asked for something that changes something.
func (a *admin) note(c *gate.Conn, order string, about ...any) {
	who := peerOf(c.Conn.(*net.UnixConn))
	a.log.Info("operator", append([]any{"order", order, "pid", who.pid, "uid", who.uid, "gid", who.gid}, about...)...)
}

// linkProtocol is what GET /link is upgraded to: a link as processors have them,
// see docs/protocol.md, but an operator's.
const linkProtocol = "holdfast-link"

// link hands the connection on to a loop. From there on it is like any other
// link: an upgrade hands it over.
func (a *admin) link(w http.ResponseWriter, r *http.Request) {
	if !strings.EqualFold(r.Header.Get("Upgrade"), linkProtocol) {
		w.Header().Set("Upgrade", linkProtocol)
		http.Error(w, "ask for Upgrade: "+linkProtocol, http.StatusUpgradeRequired)
		return
	}
	hijacked, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	c := hijacked.(*gate.Conn)
	defer c.Passed() // it counts as the reception's by then
	if _, err := io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+linkProtocol+"\r\n\r\n"); err != nil {
		_ = c.Close()
		return
	}
	early, _ := buffered.Reader.Peek(buffered.Reader.Buffered())
	a.g.reception.receive(c.Conn.(*net.UnixConn), early, true)
}

// drain has a processor's links get no more deliveries.
func (a *admin) drain(w http.ResponseWriter, r *http.Request) {
	name := r.FormValue("processor")
	a.note(gate.ConnOf(r), "drain", "processor", name)
	found := 0
	for _, world := range a.g.worlds {
		n, err := ask(r.Context(), world, func() int { return world.drain(name) })
		switch {
		case err != nil:
			answer(w, nil, err)
			return
		case n < 0:
			replacedHere(w)
			return
		}
		found += n
	}
	if found == 0 {
		answer(w, nil, fmt.Errorf("no processor of the name %q has joined", name))
		return
	}
	answer(w, map[string]int{"links": found}, nil)
}

// drain drains the links of a processor, and returns how many there are; -1
// when they are another process's now.
func (w *world) drain(processor string) (n int) {
	if w.late != nil {
		return -1
	}
	w.relay.SetNow(w.loop.Now())
	for l := range w.links {
		if l.Name() == processor {
			w.relay.Drain(l)
			n++
		}
	}
	return n
}

// setRights gives the admin socket to a group, or to nobody but the gateway's
// own user.
func setRights(path, group string) error {
	mode, gid := os.FileMode(0o600), -1
	if group != "" {
		var err error
		if gid, err = config.LookupGroup(group); err != nil {
			return err
		}
		mode = 0o660
	}
	if gid >= 0 {
		if err := os.Chown(path, -1, gid); err != nil {
			return fmt.Errorf("admin socket for group %s, of which this process must be a member: %w", group, err)
		}
	}
	if err := os.Chmod(path, mode); err != nil {
		return fmt.Errorf("admin socket: %w", err)
	}
	return nil
}
