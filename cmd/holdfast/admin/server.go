package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"holdfast/cmd/holdfast/config"
	"holdfast/cmd/holdfast/gate"
	"holdfast/unixipc"
)

// A Server serves operators' commands: HTTP over a Unix socket.
type Server struct {
	g        Gateway
	listener net.Listener
	server   *http.Server
	log      *slog.Logger
	Upgrades chan *UpgradeRequest
	over     chan struct{} // closed when this process serves no commands any more
}

// UpgradeRequest is one `holdfast upgrade` that waits for the outcome.
type UpgradeRequest struct {
	lines chan Progress // closed when it is over
	last  Progress      // the outcome, once lines is closed
}

func (r *UpgradeRequest) Tell(p Progress) {
	select {
	case r.lines <- p:
	default: // whoever watches does not read
	}
}

// Finish reports the outcome of the upgrade, and ends the request. gone says that
// nobody owns the connections any more.
func (r *UpgradeRequest) Finish(err error, gone bool) {
	last := Progress{Phase: "done"}
	switch {
	case gone:
		last = Progress{Phase: "failed", Error: err.Error()}
	case err != nil:
		last = Progress{Phase: PhaseRolledBack, Error: err.Error()}
	}
	r.last = last
	close(r.lines)
}

// Gateway is what the commands act on. Its methods may be called from any
// goroutine. Their errors are answered with 404, but errReplaced and errNoTurn,
// which have whoever asked ask again.
type Gateway interface {
	Status(ctx context.Context) (*Status, error)
	// Chargers describes the connected chargers whose identity matches glob.
	Chargers(ctx context.Context, glob string) ([]ChargerStatus, error)
	// Drain moves the chargers of a processor elsewhere, and returns how many
	// links it has.
	Drain(ctx context.Context, processor string) (links int, err error)
	// Join takes over an operator's connection that becomes a link; early was
	// read from it.
	Join(c *net.UnixConn, early []byte)
	// Authorize asks a processor, until the deadline of ctx.
	Authorize(ctx context.Context, body unixipc.AuthorizeBody) (unixipc.VerdictBody, error)
}

func NewServer(g Gateway, at *gate.Gate, l net.Listener, log *slog.Logger) *Server {
	a := &Server{g: g, listener: at.Listener(l), log: log, Upgrades: make(chan *UpgradeRequest), over: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /upgrade", a.upgrade)
	mux.HandleFunc("GET /status", a.status)
	mux.HandleFunc("GET /chargers", a.chargers)
	mux.HandleFunc("POST /drain", a.drain)
	mux.HandleFunc("GET /link", a.link)
	mux.HandleFunc("POST /authorize", a.authorize)
	a.server = gate.NewHTTPServer(mux, log)
	return a
}

func (a *Server) Run() { gate.ServeHTTP(a.server, a.listener, a.log) }

// ShutDown takes no more commands, and waits for those in progress.
func (a *Server) ShutDown() {
	close(a.over)
	gate.ShutDownHTTP(a.server)
}

// upgrade answers with one progress in JSON a line; the last tells the outcome.
func (a *Server) upgrade(w http.ResponseWriter, r *http.Request) {
	c := gate.ConnOf(r)
	c.Passed() // an upgrade does not wait for itself
	a.note(c, "upgrade")
	request := &UpgradeRequest{lines: make(chan Progress, maxProgress)}
	select {
	case a.Upgrades <- request:
	case <-a.over:
		replacedHere(w)
		return
	case <-r.Context().Done():
		return
	}
	out, control := json.NewEncoder(w), http.NewResponseController(w)
	write := func(p Progress) {
		_ = control.SetWriteDeadline(time.Now().Add(gate.WriteTimeout))
		_ = out.Encode(p) // a watcher who leaves does not stop the upgrade
		_ = control.Flush()
	}
	for p := range request.lines {
		write(p)
	}
	write(request.last)
}

// maxProgress is how many lines may wait for a watcher. What is beyond is left out:
// the outcome is what matters.
const maxProgress = 256

// ErrNoTurn says that a loop did not answer in time.
var ErrNoTurn = errors.New("the loop does not turn")

// ErrReplaced says that another process has taken over, or is about to.
var ErrReplaced = errors.New("this process has been replaced, or ends")

// replacedHere has whoever asked ask again: by now the socket leads to another
// process, if there is one.
func replacedHere(w http.ResponseWriter) {
	http.Error(w, ErrReplaced.Error(), http.StatusServiceUnavailable)
}

// writeResult answers with the error of a command, or its result in JSON.
func writeResult(w http.ResponseWriter, result any, err error) {
	switch {
	case errors.Is(err, ErrReplaced), errors.Is(err, ErrNoTurn):
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	case err != nil:
		http.Error(w, err.Error(), http.StatusNotFound)
	default:
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(result) // to somebody who has left
	}
}

// note logs who asked for something that changes something.
func (a *Server) note(c *gate.Conn, order string, about ...any) {
	who := unixipc.PeerOf(c.Conn.(*net.UnixConn))
	a.log.Info("operator", append([]any{"order", order, "pid", who.PID, "uid", who.UID, "gid", who.GID}, about...)...)
}

// link hands the connection on to a loop. From there on it is like any other
// link: an upgrade hands it over.
func (a *Server) link(w http.ResponseWriter, r *http.Request) {
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
	defer c.Passed() // it counts as the gateway's by then
	if _, err := io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+linkProtocol+"\r\n\r\n"); err != nil {
		_ = c.Close()
		return
	}
	early, _ := buffered.Reader.Peek(buffered.Reader.Buffered())
	a.g.Join(c.Conn.(*net.UnixConn), early)
}

// drain has a processor's links get no more deliveries.
func (a *Server) drain(w http.ResponseWriter, r *http.Request) {
	name := r.FormValue("processor")
	a.note(gate.ConnOf(r), "drain", "processor", name)
	found, err := a.g.Drain(r.Context(), name)
	if found == 0 && err == nil {
		err = fmt.Errorf("no processor of the name %q has joined", name)
	}
	writeResult(w, map[string]int{"links": found}, err)
}

// SetRights gives the admin socket to a group, or to nobody but the gateway's
// own user.
func SetRights(path, group string) error {
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

// status answers GET /status.
func (a *Server) status(w http.ResponseWriter, r *http.Request) {
	s, err := a.g.Status(r.Context())
	writeResult(w, s, err)
}

// chargers answers GET /chargers with one chargerStatus in JSON a line, sorted.
func (a *Server) chargers(w http.ResponseWriter, r *http.Request) {
	pattern := cmp.Or(r.FormValue("glob"), "*")
	if _, err := path.Match(pattern, ""); err != nil || len(pattern) > maxGlob {
		http.Error(w, fmt.Sprintf("%q is no pattern of at most %d bytes: %v", pattern, maxGlob, err), http.StatusBadRequest)
		return
	}
	all, err := a.g.Chargers(r.Context(), pattern)
	if err != nil {
		writeResult(w, nil, err)
		return
	}
	slices.SortFunc(all, func(a, b ChargerStatus) int { return strings.Compare(a.Identity, b.Identity) })
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := json.NewEncoder(w)
	for i := range all {
		if out.Encode(&all[i]) != nil {
			return
		}
	}
}

// maxGlob is the longest pattern, in bytes.
const maxGlob = 512

// authorize serves handshakes that are under way in the process before.
func (a *Server) authorize(rw http.ResponseWriter, r *http.Request) {
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
	v, err := a.g.Authorize(ctx, body)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusGatewayTimeout)
		return
	}
	_ = json.NewEncoder(rw).Encode(v)
}
