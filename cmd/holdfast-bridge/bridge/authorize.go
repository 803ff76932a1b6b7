package bridge

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"holdfast/cmd/holdfast-bridge/upstream"
	"holdfast/proc"
)

// admitted is a connection made to learn whether a charger may connect. It is the
// charger's, once it has.
type admitted struct {
	conn   *upstream.Conn
	target upstream.Target
	expiry *time.Timer
}

// admittedFor is how long a charger may take from its verdict to its OPENED.
const admittedFor = 30 * time.Second

// authorize answers AUTHORIZE with what the central system says to the charger's own
// credentials.
func (b *Bridge) authorize(ctx context.Context, a proc.AuthorizeBody) proc.VerdictBody {
	r, found := b.routes.Load().Find(a.Identity, a.Subprotocol)
	if !found {
		b.cfg.Metrics.Verdict(http.StatusNotFound).Inc()
		return proc.VerdictBody{Status: http.StatusNotFound, Reason: "no route for this charger"}
	}
	var keep note
	if a.Basic != nil {
		keep.Authorization = basic(a.Basic.Username, a.Basic.Password)
	}
	t := upstream.Target{
		URL: r.Address(a.Identity), Subprotocol: a.Subprotocol, Authorization: keep.Authorization,
		From: hostOf(a.Remote), Secure: a.TLS != nil,
	}
	verdict := proc.VerdictBody{Accept: true, Note: keep.encode()}
	if limit := b.maxNote.Load(); keep.Authorization != "" && limit >= 0 && int64(len(verdict.Note)) > limit {
		// Let in, it would be connected without its credentials from then on.
		b.cfg.Metrics.Verdict(http.StatusForbidden).Inc()
		b.cfg.Logger.Warn("a charger's credentials are too long to be kept", "charger", a.Identity, "bytes", len(verdict.Note), "limit", limit)
		return proc.VerdictBody{Status: http.StatusForbidden, Reason: "the charger's credentials are too long to be kept by the gateway"}
	}
	if s := b.find(a.Identity); s != nil {
		connected := false
		s.do(func() {
			if connected = s.up != nil && sameTarget(s.target, t); connected {
				s.expected = time.Now()
			}
		})
		if connected { // the central system has said so to the same credentials
			b.cfg.Metrics.Verdict(http.StatusSwitchingProtocols).Inc()
			return verdict
		}
	}
	ctx, cancel := context.WithTimeout(ctx, verdictTimeout)
	defer cancel()
	conn, err := b.cfg.Queue.Now(ctx, t)
	if refusal, ok := errors.AsType[*upstream.RefusalError](err); ok {
		b.cfg.Metrics.Verdict(refusal.Status).Inc()
		b.cfg.Logger.Info("the central system refuses a charger", "charger", a.Identity, "upstream", t.URL, "status", refusal.Status, "reason", refusal.Error())
		return proc.VerdictBody{Status: statusFor(refusal.Status), Reason: "the central system " + refusal.Error()}
	}
	if err != nil { // nobody knows whether the charger may: it should try later
		b.cfg.Metrics.Verdict(http.StatusServiceUnavailable).Inc()
		b.cfg.Logger.Warn("the central system cannot be asked whether a charger may connect", "charger", a.Identity, "upstream", t.URL, "reason", err.Error())
		return proc.VerdictBody{Status: http.StatusServiceUnavailable, Reason: "the central system does not answer"}
	}
	b.cfg.Metrics.Verdict(http.StatusSwitchingProtocols).Inc()
	b.admit(a.Identity, conn, t)
	return verdict
}

// verdictTimeout is shorter than the gateway's -handshake-timeout, so that the charger
// gets an answer.
const verdictTimeout = 8 * time.Second

// statusFor is what the charger is told. A status that means nothing to a charger is one
// that has it try again.
func statusFor(upstream int) int {
	if upstream >= 400 && upstream <= 599 {
		return upstream
	}
	return http.StatusServiceUnavailable
}

func sameTarget(a, b upstream.Target) bool {
	return a.URL == b.URL && a.Subprotocol == b.Subprotocol && same(a.Authorization, b.Authorization)
}

// admit keeps a connection for the charger.
func (b *Bridge) admit(identity string, conn *upstream.Conn, t upstream.Target) {
	a := &admitted{conn: conn, target: t}
	b.mu.Lock()
	former := b.admitted[identity]
	b.admitted[identity] = a
	a.expiry = time.AfterFunc(admittedFor, func() {
		b.mu.Lock()
		ours := b.admitted[identity] == a
		if ours {
			delete(b.admitted, identity)
		}
		b.mu.Unlock()
		if ours {
			conn.Close(1001, "the charger did not come")
		}
	})
	b.mu.Unlock()
	if former != nil {
		former.expiry.Stop()
		former.conn.Close(1001, "the charger has connected again")
	}
}

// take returns the connection that was made for the charger; nil: none that fits.
func (b *Bridge) take(identity string, t upstream.Target) *upstream.Conn {
	b.mu.Lock()
	a := b.admitted[identity]
	delete(b.admitted, identity)
	b.mu.Unlock()
	if a == nil {
		return nil
	}
	a.expiry.Stop()
	if !sameTarget(a.target, t) {
		a.conn.Close(1001, "the charger's route has changed")
		return nil
	}
	return a.conn
}

func hostOf(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return address
}
