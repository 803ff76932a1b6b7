package gateway

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/netip"
	"syscall"
	"time"

	"holdfast/cmd/holdfast/config"
	"holdfast/cmd/holdfast/credentials"
	"holdfast/cmd/holdfast/shard"
	"holdfast/conn"
	"holdfast/relay"
	"holdfast/unixipc"
)

// An applicant is a charger that asks to be let in. Its TLS handshake is done.
type applicant struct {
	from        netip.AddrPort // its own address, as far as it is known
	entered     bool           // from is not the peer's, and counts in handshaker.addresses
	listener    config.Listener
	tls         *tls.ConnectionState // nil: ws
	certificate *conn.Certificate    // nil: none
	deadline    time.Time            // of its whole handshake
	file        int                  // the descriptor that the connection has once it is held; -1: none yet
	note        []byte               // that a processor left with its verdict
}

// closeFile gives the descriptor back.
func (a *applicant) closeFile() {
	if a.file >= 0 {
		_ = syscall.Close(a.file)
		a.file = -1
	}
}

// An authorizer decides which charger may connect: by its certificate, by the
// auth-file, or by what a processor answers.
type authorizer struct {
	clientIdentity string                 // where a certificate has the identity: cn, san or any
	passwords      *credentials.Passwords // nil: no auth-file
	profiles       *credentials.Profiles  // nil: none are remembered
	shards         []*shard.Shard
	adminSocket    string
	timeout        time.Duration // of a whole handshake
	unknownCharger int           // HTTP status
}

// authorize returns why the charger may not come in; nil: it may, and who has its note. The status goes
// by what the charger can do about it: 401 makes it report that its key is wrong,
// so 401 is never sent for a fault of ours.
func (a *authorizer) authorize(who *applicant, r conn.Request) *conn.Refusal {
	if who.certificate != nil {
		if err := credentials.CheckCertificate(a.clientIdentity, r.Identity, who.tls.PeerCertificates[0], who.certificate); err != nil {
			return conn.RefusalCertificate.Refusal(err)
		}
	}
	var refusal *conn.Refusal
	switch who.listener.Auth {
	case "file":
		refusal = a.byFile(r)
	case "processor":
		refusal = a.byProcessor(who, r)
	}
	if refusal == nil && a.profiles != nil {
		// After the rest: a stranger neither raises a profile, nor hears of it.
		refusal = a.keepProfile(r.Identity, profileOf(who, r))
	}
	return refusal
}

// profileOf returns OCPP's number of how a charger that is let in was authenticated:
// 1 by its password, 2 by that over TLS, 3 by its certificate; 0 if it was not.
func profileOf(who *applicant, r conn.Request) uint8 {
	switch {
	case who.certificate != nil:
		return 3
	case who.listener.Auth == "none" || !r.HasBasic:
		return 0
	case who.tls != nil:
		return 2
	}
	return 1
}

// keepProfile refuses a charger that goes back to a lower security profile.
func (a *authorizer) keepProfile(identity string, profile uint8) *conn.Refusal {
	highest, err := a.profiles.Use(identity, profile)
	switch {
	case err != nil:
		refusal := conn.RefusalNoProfile.Refusal(err)
		refusal.Told = "the gateway cannot let this charger in now"
		return refusal
	case highest > profile:
		return conn.RefusalProfile.Refusal(highest, profile)
	}
	return nil
}

func (a *authorizer) byFile(r conn.Request) *conn.Refusal {
	known, right := a.passwords.Check(r.Identity, r.Password)
	switch {
	case !known && a.unknownCharger == http.StatusNotFound:
		refusal := conn.RefusalUnknownCharger.Refusal()
		refusal.Status, refusal.Challenge = http.StatusNotFound, false
		return refusal
	case !r.HasBasic:
		return conn.RefusalNoPassword.Refusal()
	case r.Username != r.Identity:
		return conn.RefusalUserName.Refusal()
	case !known:
		// A stranger does not learn which identities there are.
		refusal := conn.RefusalUnknownCharger.Refusal()
		refusal.Told = conn.RefusalWrongPassword.Format
		return refusal
	case !right:
		return conn.RefusalWrongPassword.Refusal()
	}
	return nil
}

func (a *authorizer) byProcessor(who *applicant, r conn.Request) *conn.Refusal {
	if r.Subprotocol == "" {
		return nil // the handshake refuses it for that, which is all it has to know
	}
	body := unixipc.AuthorizeBody{
		Identity: r.Identity, Path: r.Path, Subprotocol: r.Subprotocol, Remote: who.from.String(),
		Certificate: shard.CertificateBody(who.certificate),
	}
	if r.HasBasic {
		body.Basic = &unixipc.BasicBody{Username: []byte(r.Username), Password: r.Password}
	}
	if who.tls != nil {
		body.TLS = &unixipc.TLSBody{Version: tls.VersionName(who.tls.Version), Suite: tls.CipherSuiteName(who.tls.CipherSuite)}
	}
	// A little before the handshake's own deadline: the answer is still to be sent.
	ctx, cancel := context.WithDeadline(context.Background(), who.deadline.Add(-min(time.Second, a.timeout/10)))
	defer cancel()
	v, err := a.shards[relay.LoopOf(r.Identity, len(a.shards))].Verdict(ctx, body, a.adminSocket)
	switch {
	case err != nil:
		return conn.RefusalNoVerdict.Refusal(err)
	case v.Accept:
		who.note = v.Note
		return nil
	}
	refusal := conn.RefusalProcessor.Refusal()
	refusal.Status = v.Refusal()
	refusal.Challenge = refusal.Status == http.StatusUnauthorized
	if v.Reason != "" {
		refusal.Why += ": " + v.Reason
	}
	return refusal
}
