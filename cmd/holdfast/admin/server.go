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
	"path"
	"slices"
	"strings"
	"time"

	"holdfast/cmd/holdfast/gate"
	"holdfast/unixipc"
)

// A Server serves operators' commands: HTTP over a Unix socket.
type Server struct {
	gateway  Gateway
	listener net.Listener
	server   *http.Server
	log      *slog.Logger
	Upgrades chan *UpgradeRequest
	over     chan struct{} // closed when this process serves no commands any more
}

// NewServer returns a server that accepts from l behind a gate.
func NewServer(g Gateway, at *gate.Gate, l net.Listener, log *slog.Logger) *Server {
	s := &Server{
		gateway: g, listener: at.Listener(l), log: log,
		Upgrades: make(chan *UpgradeRequest), over: make(chan struct{}),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /upgrade", s.upgrade)
	mux.HandleFunc("GET /status", s.status)
	mux.HandleFunc("GET /chargers", s.chargers)
	mux.HandleFunc("POST /drain", s.drain)
	mux.HandleFunc("POST /undrain", s.undrain)
	mux.HandleFunc("POST /block", s.block)
	mux.HandleFunc("POST /unblock", s.unblock)
	mux.HandleFunc("GET /blocks", s.blocks)
	mux.HandleFunc("GET /link", s.link)
	mux.HandleFunc("POST /authorize", s.authorize)
	s.server = gate.NewHTTPServer(mux, log)
	return s
}

// Run serves until ShutDown.
func (s *Server) Run() { gate.ServeHTTP(s.server, s.listener, s.log) }

// ShutDown takes no more commands, and waits for those in progress.
func (s *Server) ShutDown() {
	close(s.over)
	gate.ShutDownHTTP(s.server)
}

// upgrade answers POST /upgrade with one Progress in JSON a line. The last has the
// outcome.
func (s *Server) upgrade(w http.ResponseWriter, r *http.Request) {
	c := gate.ConnOf(r)
	c.Passed() // an upgrade does not wait for itself
	s.note(c, "upgrade")
	request := &UpgradeRequest{lines: make(chan Progress, maxProgress)}
	select {
	case s.Upgrades <- request:
	case <-s.over:
		writeReplaced(w)
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

// writeReplaced has a Client ask again: by now the socket leads to another process,
// if there is one.
func writeReplaced(w http.ResponseWriter) {
	http.Error(w, ErrReplaced.Error(), http.StatusServiceUnavailable)
}

// writeResult answers with the error of a command, or its result in JSON.
func writeResult(w http.ResponseWriter, result any, err error) {
	var last *LastError
	switch {
	case errors.As(err, &last), errors.Is(err, errNotDrained), errors.Is(err, ErrNoBlocks):
		http.Error(w, err.Error(), http.StatusConflict)
	case errors.Is(err, ErrReplaced), errors.Is(err, ErrNoTurn):
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	case err != nil:
		http.Error(w, err.Error(), http.StatusNotFound)
	default:
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(result) // to somebody who has left
	}
}

// note logs who gave an order that changes something.
func (s *Server) note(c *gate.Conn, order string, about ...any) {
	who := unixipc.PeerOf(c.Conn.(*net.UnixConn))
	s.log.Info("operator", append([]any{"order", order, "pid", who.PID, "uid", who.UID, "gid", who.GID}, about...)...)
}

// link answers GET /link: the connection is passed on to a loop. From there on it is
// a link like any other, which an upgrade hands over.
func (s *Server) link(w http.ResponseWriter, r *http.Request) {
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
	defer c.Passed() // the gateway counts it by then
	if _, err := io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+linkProtocol+"\r\n\r\n"); err != nil {
		_ = c.Close()
		return
	}
	early, _ := buffered.Reader.Peek(buffered.Reader.Buffered())
	s.gateway.Join(c.Conn.(*net.UnixConn), early)
}

// drain answers POST /drain: the links of a processor get no more deliveries.
func (s *Server) drain(w http.ResponseWriter, r *http.Request) {
	name := r.FormValue("processor")
	force := r.FormValue("force") == "true"
	s.note(gate.ConnOf(r), "drain", "processor", name, "force", force)
	found, err := s.gateway.Drain(r.Context(), name, force)
	if found == 0 && err == nil {
		err = fmt.Errorf("no processor of the name %q has joined", name)
	}
	writeResult(w, map[string]int{"links": found}, err)
}

// undrain answers POST /undrain: the links of a processor that were drained by an
// operator get deliveries again.
func (s *Server) undrain(w http.ResponseWriter, r *http.Request) {
	name := r.FormValue("processor")
	s.note(gate.ConnOf(r), "undrain", "processor", name)
	found, err := s.gateway.Undrain(r.Context(), name)
	if found == 0 && err == nil {
		err = s.whyNotUndrained(r.Context(), name)
	}
	writeResult(w, map[string]int{"links": found}, err)
}

// whyNotUndrained says why there is nothing to take back.
func (s *Server) whyNotUndrained(ctx context.Context, name string) error {
	status, err := s.gateway.Status(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(status.Links, func(l LinkStatus) bool { return l.Processor == name && !l.AskOnly && !l.Operator })
	switch {
	case i < 0:
		return fmt.Errorf("no processor of the name %q has joined", name)
	case status.Links[i].Draining:
		return fmt.Errorf("%w: %q is draining of its own accord, to end, and gets its share when it joins again", errNotDrained, name)
	}
	return fmt.Errorf("%w: %q gets its share", errNotDrained, name)
}

// errNotDrained refuses to take back what nobody has ordered.
var errNotDrained = errors.New("not drained by an operator")

// status answers GET /status.
func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	status, err := s.gateway.Status(r.Context())
	writeResult(w, status, err)
}

// chargers answers GET /chargers with one ChargerStatus in JSON a line, sorted by
// identity.
func (s *Server) chargers(w http.ResponseWriter, r *http.Request) {
	pattern := cmp.Or(r.FormValue("glob"), "*")
	if _, err := path.Match(pattern, ""); err != nil || len(pattern) > maxGlob {
		http.Error(w, fmt.Sprintf("%q is no pattern of at most %d bytes: %v", pattern, maxGlob, err), http.StatusBadRequest)
		return
	}
	all, err := s.gateway.Chargers(r.Context(), pattern)
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

// authorize answers POST /authorize, for handshakes that are under way in the
// process before.
func (s *Server) authorize(w http.ResponseWriter, r *http.Request) {
	var body unixipc.AuthorizeBody
	deadline, err := time.Parse(time.RFC3339Nano, r.Header.Get(deadlineHeader))
	if err == nil {
		err = json.NewDecoder(http.MaxBytesReader(w, r.Body, unixipc.MaxControl)).Decode(&body)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithDeadline(r.Context(), deadline)
	defer cancel()
	v, err := s.gateway.Authorize(ctx, body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusGatewayTimeout)
		return
	}
	_ = json.NewEncoder(w).Encode(v)
}
