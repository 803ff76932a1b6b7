package main

import (
	"crypto/tls"
	"net/http"
	"time"

	"holdfast/conn"
)

// An applicant is a charger at the door, its TLS handshake done.
type applicant struct {
	remote      string
	listener    listener
	tls         *tls.ConnectionState // nil: ws
	certificate *conn.Certificate    // nil: none
	deadline    time.Time            // of its whole handshake
}

// authorize tells what speaks against letting it in; nil: nothing. What a
// charger may do about it decides the status: 401 makes it report that its key
// is wrong, so it is never sent for a fault of ours.
func (d *door) authorize(a applicant, r conn.Request) *conn.Refusal {
	if a.certificate != nil {
		if err := checkCertificate(d.clientIdentity, r.Identity, a.tls.PeerCertificates[0], a.certificate); err != nil {
			return &conn.Refusal{Status: http.StatusForbidden, Why: err.Error()}
		}
	}
	switch a.listener.auth {
	case "file":
		return d.authorizeByFile(r)
	case "processor":
		return d.authorizeByProcessor(a, r)
	}
	return nil
}

func unauthorized(why string) *conn.Refusal {
	return &conn.Refusal{Status: http.StatusUnauthorized, Why: why, Challenge: true}
}

func (d *door) authorizeByFile(r conn.Request) *conn.Refusal {
	known, right := d.passwords.check(r.Identity, r.Password)
	switch {
	case !known:
		return &conn.Refusal{Status: http.StatusNotFound, Why: "no charger of this identity is known here"}
	case !r.HasBasic:
		return unauthorized("a password is needed: Authorization: Basic")
	case r.Username != r.Identity:
		return unauthorized("the user name is not the identity")
	case !right:
		return unauthorized("wrong password")
	}
	return nil
}

func (d *door) authorizeByProcessor(a applicant, r conn.Request) *conn.Refusal {
	return &conn.Refusal{Status: http.StatusServiceUnavailable, Why: "no processor can say whether this charger may come in", RetryAfter: 30}
}
