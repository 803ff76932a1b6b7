package record

import (
	"bytes"
	"crypto/tls"
)

// session has the master secret of TLS 1.2 travel in the ticket once more, where
// it can be read again: crypto/tls logs it where it is made, and is silent about
// it in a session that is resumed.
type session struct {
	config *tls.Config // of this handshake
	logged secrets
	master []byte // of the ticket that came
}

// labelMaster is what crypto/tls logs the master secret under.
const labelMaster = "CLIENT_RANDOM"

// extraMaster goes before the master secret in tls.SessionState.Extra.
var extraMaster = []byte("holdfast TLS 1.2 master secret\x00")

// wrap is tls.Config.WrapSession. A session that is resumed gets a new ticket.
func (s *session) wrap(cs tls.ConnectionState, state *tls.SessionState) ([]byte, error) {
	if cs.Version == tls.VersionTLS12 {
		master := s.logged[labelMaster].secret
		if len(master) == 0 {
			master = s.master
		}
		state.Extra = append(state.Extra, append(bytes.Clone(extraMaster), master...))
	}
	return s.config.EncryptTicket(cs, state)
}

// unwrap is tls.Config.UnwrapSession. A ticket of TLS 1.2 without the secret is
// none.
func (s *session) unwrap(ticket []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
	state, err := s.config.DecryptTicket(ticket, cs)
	if state == nil || err != nil || cs.Version != tls.VersionTLS12 {
		return state, err
	}
	for _, extra := range state.Extra {
		if master, ok := bytes.CutPrefix(extra, extraMaster); ok && len(master) > 0 {
			s.master = master
			return state, nil
		}
	}
	return nil, nil
}

// resumed adds to what was logged what was not.
func (s *session) resumed(clientRandom []byte) {
	if len(s.logged[labelMaster].secret) == 0 && len(s.master) > 0 {
		s.logged[labelMaster] = secret{clientRandom, s.master}
	}
}
