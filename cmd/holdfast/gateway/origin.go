package gateway

import (
	"cmp"
	"errors"
	"net"
	"net/http"
	"net/netip"

	"holdfast/cmd/holdfast/addresses"
	"holdfast/cmd/holdfast/config"
	"holdfast/cmd/holdfast/credentials"
	"holdfast/cmd/holdfast/forwarded"
	"holdfast/conn"
)

// A charger comes from the address of its connection, or from that which a trusted
// balancer names: in a PROXY header before everything, or in the request. As soon as the
// address is known it is held against allow-from and the limit of one address.

// addressOf returns the address that a connection comes from.
func addressOf(nc net.Conn) netip.AddrPort {
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		from := a.AddrPort()
		return netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	}
	return netip.AddrPort{}
}

// headerOf returns the name of the header in which trusted peers name the charger's
// address, as net/http spells it; "": none.
func headerOf(c *config.Config) string {
	switch c.TrustedHeader {
	case "x-forwarded-for":
		return forwarded.XForwardedFor
	case "forwarded":
		return forwarded.Forwarded
	}
	return ""
}

// knock finds out who connects, as far as it shows before the request. A refusal was
// sent, unless the charger awaits TLS.
func (h *handshaker) knock(nc net.Conn, who *applicant) error {
	refusal, err := h.readProxy(nc, who)
	if err == nil && refusal == nil && !h.mayName(who.from.Addr()) {
		refusal = h.welcome(who)
	}
	if refusal == nil {
		return err
	}
	if !who.listener.TLS {
		conn.RefuseAtOnce(nc, refusal)
	}
	return refusal
}

// mayName reports whether the request of this peer may name another address, which is
// judged in its place.
func (h *handshaker) mayName(peer netip.Addr) bool {
	return h.header != "" && h.addresses.Trusted(peer)
}

// readProxy reads the PROXY header on a listener that requires it.
func (h *handshaker) readProxy(nc net.Conn, who *applicant) (*conn.Refusal, error) {
	switch {
	case !who.listener.Proxy:
		return nil, nil
	case !h.addresses.Trusted(who.from.Addr()):
		return conn.RefusalNotTrusted.Refusal(), nil
	}
	from, err := forwarded.ReadPROXY(nc)
	switch {
	case errors.Is(err, forwarded.ErrHeader):
		return conn.RefusalNoPROXY.Refusal(err), nil
	case err != nil:
		return nil, err
	case from.IsValid():
		return h.moveTo(from, who), nil
	}
	return nil, nil
}

// hear takes the charger's address from the header of its request, if that came from a
// trusted peer.
func (h *handshaker) hear(header http.Header, who *applicant) *conn.Refusal {
	if !h.mayName(who.from.Addr()) {
		return nil // it was judged before
	}
	if from := forwarded.Client(header, h.header, who.from, h.addresses.Trusted); from != who.from {
		if refusal := h.moveTo(from, who); refusal != nil {
			return refusal
		}
	}
	return h.welcome(who)
}

// moveTo makes from the charger's address, and counts its handshake there.
func (h *handshaker) moveTo(from netip.AddrPort, who *applicant) *conn.Refusal {
	h.leave(who)
	if who.from = from; !h.addresses.Enter(from.Addr()) {
		return conn.RefusalAddress.Refusal()
	}
	who.entered = true
	return nil
}

// leave takes the charger's handshake from those of an address that it was moved to.
func (h *handshaker) leave(who *applicant) {
	if who.entered {
		who.entered = false
		h.addresses.Leave(who.from.Addr())
	}
}

// welcome holds the charger's address against allow-from, and the blocks.
func (h *handshaker) welcome(who *applicant) *conn.Refusal {
	if allowed := who.listener.AllowFrom; allowed != nil && !addresses.In(allowed, who.from.Addr()) {
		return conn.RefusalNotAllowed.Refusal()
	}
	if blocks := h.files.Blocks; blocks != nil {
		if block, blocked := blocks.OfAddress(who.from.Addr()); blocked {
			return blockedBy(block)
		}
	}
	return nil
}

// blockedBy is the refusal of whom a block is for, who does not learn the reason.
func blockedBy(block credentials.Block) *conn.Refusal {
	refusal := conn.RefusalBlocked.Refusal(cmp.Or(block.Reason, "without a reason"))
	refusal.Told = "blocked"
	return refusal
}
