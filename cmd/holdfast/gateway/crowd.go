package gateway

import (
	"net"
	"net/netip"
	"time"

	"holdfast/cmd/holdfast/config"
	"holdfast/conn"
)

// turnAway ends a connection from an address that has enough handshakes in progress.
// It costs no slot and no wait, so others are let in meanwhile.
func (h *handshaker) turnAway(nc net.Conn, how config.Listener) {
	refusal := conn.RefusalAddress.Refusal()
	if how.TLS {
		refusal.Status = 0 // an answer in the clear would be none
	} else {
		conn.RefuseAtOnce(nc, refusal)
	}
	_ = nc.Close()
	h.counters.Refused(refusal.Name, refusal.Status)
	if h.crowded.due(time.Now()) {
		h.log.Warn("too many handshakes from one address: its further ones are refused", "remote", nc.RemoteAddr().String(),
			"remedy", "list it in trusted if it is a balancer; else see max-handshakes-per-address")
	}
}

// slow lets the answer to a wrong password wait, if its address has sent several.
func (h *handshaker) slow(from netip.Addr, deadline time.Time) {
	now := time.Now()
	time.Sleep(min(h.addresses.Wrong(from, now), max(0, deadline.Sub(now)-time.Second)))
}
