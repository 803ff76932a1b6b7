package gateway

import (
	"context"
	"crypto/tls"
	"net/http"
	"time"

	"holdfast/cmd/holdfast/config"
	"holdfast/cmd/holdfast/credentials"
	"holdfast/cmd/holdfast/shard"
	"holdfast/conn"
	"holdfast/relay"
	"holdfast/unixipc"
)

// An applicant is a charger that asks to be let in, its TLS handshake done.
type applicant struct {
	remote      string
	listener    config.Listener
	tls         *tls.ConnectionState // nil: ws
	certificate *conn.Certificate    // nil: none
	deadline    time.Time            // of its whole handshake
}

// authorize tells what speaks against letting it in; nil: nothing. What a
// charger may do about it decides the status: 401 makes it report that its key
// is wrong, so it is never sent for a fault of ours.
func (d *handshaker) authorize(a applicant, r conn.Request) *conn.Refusal {
	if a.certificate != nil {
		if err := credentials.CheckCertificate(d.clientIdentity, r.Identity, a.tls.PeerCertificates[0], a.certificate); err != nil {
			return &conn.Refusal{Status: http.StatusForbidden, Why: err.Error()}
		}
	}
	switch a.listener.Auth {
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

func (d *handshaker) authorizeByFile(r conn.Request) *conn.Refusal {
	known, right := d.passwords.Check(r.Identity, r.Password)
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

func (d *handshaker) authorizeByProcessor(a applicant, r conn.Request) *conn.Refusal {
	if r.Subprotocol == "" {
		return nil // it is told so, and nothing else
	}
	body := unixipc.AuthorizeBody{
		Identity: r.Identity, Path: r.Path, Subprotocol: r.Subprotocol, Remote: a.remote,
		Certificate: shard.CertificateBody(a.certificate),
	}
	if r.HasBasic {
		body.Basic = &unixipc.BasicBody{Username: []byte(r.Username), Password: r.Password}
	}
	if a.tls != nil {
		body.TLS = &unixipc.TLSBody{Version: tls.VersionName(a.tls.Version), Suite: tls.CipherSuiteName(a.tls.CipherSuite)}
	}
	// A little before the handshake's own deadline: there is still to be told.
	ctx, cancel := context.WithDeadline(context.Background(), a.deadline.Add(-min(time.Second, d.timeout/10)))
	defer cancel()
	v, err := d.shards[relay.LoopOf(r.Identity, len(d.shards))].Verdict(ctx, body, d.adminSocket)
	switch {
	case err != nil:
		return &conn.Refusal{Status: http.StatusServiceUnavailable, Why: "no processor can say whether this charger may come in: " + err.Error(), RetryAfter: 30}
	case v.Accept:
		return nil
	}
	refusal := &conn.Refusal{Status: v.Refusal(), Why: "a processor refuses this charger", Challenge: v.Status == http.StatusUnauthorized}
	if v.Reason != "" {
		refusal.Why += ": " + v.Reason
	}
	return refusal
}
