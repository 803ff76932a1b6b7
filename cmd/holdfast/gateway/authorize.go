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
			return conn.RefusalCertificate.Refusal(err)
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

func (d *handshaker) authorizeByFile(r conn.Request) *conn.Refusal {
	known, right := d.passwords.Check(r.Identity, r.Password)
	switch {
	case !known:
		return conn.RefusalUnknownCharger.Refusal()
	case !r.HasBasic:
		return conn.RefusalNoPassword.Refusal()
	case r.Username != r.Identity:
		return conn.RefusalUserName.Refusal()
	case !right:
		return conn.RefusalWrongPassword.Refusal()
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
		return conn.RefusalNoVerdict.Refusal(err)
	case v.Accept:
		return nil
	}
	refusal := conn.RefusalProcessor.Refusal()
	refusal.Status = v.Refusal()
	refusal.Challenge = v.Status == http.StatusUnauthorized
	if v.Reason != "" {
		refusal.Why += ": " + v.Reason
	}
	return refusal
}
