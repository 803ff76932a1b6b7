package record

import (
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
)

// What a peer of a TLS port spoke that was no TLS.
var (
	ErrHTTP   = errors.New("plain HTTP on a TLS port")
	ErrNotTLS = errors.New("neither TLS nor HTTP")
)

// Server does the handshake of a TLS server on nc and returns the connection
// with crypto/tls out of it. Deadlines are those that nc has. On an error nc
// is not closed. The peer has received a TLS alert, where there is one for the
// error, but not for ErrHTTP and ErrNotTLS.
func Server(nc net.Conn, config *tls.Config) (*Conn, tls.ConnectionState, error) {
	w := &wire{Conn: nc}
	logged := make(secrets)
	defer logged.wipe()
	config = config.Clone()
	config.KeyLogWriter = logged
	tickets := &session{config: config, logged: logged}
	config.WrapSession, config.UnwrapSession = tickets.wrap, tickets.unwrap
	tc := tls.Server(w, config)
	if err := tc.Handshake(); err != nil {
		for _, plain := range []error{ErrHTTP, ErrNotTLS} {
			if errors.Is(err, plain) {
				return nil, tls.ConnectionState{}, plain
			}
		}
		return nil, tls.ConnectionState{}, fmt.Errorf("TLS handshake: %w", w.explain(err))
	}
	state := tc.ConnectionState()
	if state.DidResume && state.Version == tls.VersionTLS12 {
		tickets.resumed(w.clientRandom())
	}
	layer, err := takeOver(state.Version, state.CipherSuite, logged, w)
	if err != nil {
		return nil, state, err
	}
	keyLog(logged)
	return &Conn{Conn: nc, layer: layer, raw: w.buf}, state, nil
}

// explain names the alert with which the peer has ended the handshake, if it has.
func (w *wire) explain(err error) error {
	if plain, ok := w.plainAlert(); ok {
		return AlertError(plain)
	}
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" {
		return err
	}
	for alert := range 256 { // crypto/tls has a type of its own for it
		if op.Err.Error() == tls.AlertError(alert).Error() {
			return AlertError(alert)
		}
	}
	return err
}

// takeOver makes the layer that goes on behind the handshake. Sequence numbers
// are counted, never assumed: a server has often sent a record under the key of
// TLS 1.3's application data by now, with session tickets.
func takeOver(version, id uint16, logged secrets, w *wire) (*Layer, error) {
	s := findSuite(version, id)
	if s == nil {
		return nil, fmt.Errorf("TLS handshake: %s with %s cannot be held", tls.VersionName(version), tls.CipherSuiteName(id))
	}
	if w.left > 0 {
		return nil, errors.New("TLS handshake: it ended inside a record")
	}
	if version == tls.VersionTLS13 {
		read, write := logged["CLIENT_TRAFFIC_SECRET_0"], logged["SERVER_TRAFFIC_SECRET_0"]
		if len(read.secret) != s.secretLen() || len(write.secret) != s.secretLen() {
			return nil, errors.New("TLS handshake: no traffic secrets")
		}
		l := newLayer(s, read.secret, write.secret)
		l.write.seq = countSealed(s, write.secret, w)
		// The client's Finished is its last record under another key: it ends
		// its record, and crypto/tls has read no further.
		return l, nil
	}
	master := logged[labelMaster]
	random := w.serverRandom()
	if len(master.secret) == 0 || len(master.random) == 0 || random == nil {
		return nil, errors.New("TLS handshake: no master secret")
	}
	client, server := keyBlock(s, master.secret, master.random, random)
	l := newLayer(s, client, server)
	clear(client)
	clear(server)
	l.read.seq = w.read
	protects := false
	w.records(func(r []byte) {
		if protects {
			l.write.seq++
		}
		protects = protects || r[0] == typeChangeCipherSpec
	})
	return l, nil
}

// countSealed is how many of the server's records open under the secret.
func countSealed(s *suite, secret []byte, w *wire) uint64 {
	l := newLayer(s, secret, secret) // to read what was written
	w.records(func(r []byte) {
		if r[0] == typeData {
			_, _, _ = l.decrypt(append([]byte(nil), r...)) // counts if it opens
		}
	})
	return l.read.seq
}

// secrets are what crypto/tls writes to Config.KeyLogWriter in one handshake,
// by label.
type secrets map[string]secret

type secret struct{ random, secret []byte } // of the client; the secret itself

// Write takes one line: label, client random, secret; the latter in hex.
func (s secrets) Write(line []byte) (int, error) {
	label, rest, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
	random, value, _ := strings.Cut(rest, " ")
	var one secret
	var err error
	if one.random, err = hex.DecodeString(random); err == nil {
		one.secret, err = hex.DecodeString(value)
	}
	if err != nil {
		return 0, fmt.Errorf("secret of the handshake: %w", err)
	}
	s[label] = one
	return len(line), nil
}

func (s secrets) wipe() {
	for _, one := range s {
		clear(one.secret)
	}
}
