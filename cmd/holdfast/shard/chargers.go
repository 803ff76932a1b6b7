package shard

import (
	"crypto/tls"
	"time"

	"holdfast/conn"
	"holdfast/relay"
	"holdfast/unixipc"
)

// toChargers implements relay.Gateway: what the relay asks of connections. A
// handle that the relay passes is always that of a live connection.
type toChargers struct{ *Shard }

func (t toChargers) Send(handle uint64, payload []byte, binary bool) (uint64, unixipc.Status) {
	position, err := t.Loop.Lookup(handle).Send(payload, binary)
	switch err {
	case nil:
		t.Counters.MessagesOut++
		t.Counters.BytesOut += uint64(len(payload))
		return position, unixipc.StatusOK
	case conn.ErrFull:
		return 0, unixipc.StatusFull
	}
	return 0, unixipc.StatusClosed
}

func (t toChargers) Close(handle uint64, order unixipc.CloseBody, by string) {
	why := conn.Close{Code: order.Code, Reason: order.Reason, By: conn.By(by)}
	if order.Drop {
		why = why.WithoutFrame()
	}
	t.Loop.Lookup(handle).Close(why)
}

func (t toChargers) Pause(handle uint64) {
	t.Counters.Pauses++
	t.Loop.Lookup(handle).Pause()
}

func (t toChargers) Resume(handle uint64) { t.Loop.Lookup(handle).Resume() }

func (t toChargers) Describe(handle uint64) unixipc.OpenedBody {
	c := t.Loop.Lookup(handle)
	body := unixipc.OpenedBody{
		Subprotocol: c.Subprotocol.String(),
		Path:        c.Path.String(),
		Remote:      c.Remote.String(),
		Opened:      time.UnixMilli(c.Opened).UTC(),
		Certificate: CertificateBody(c.Certificate),
	}
	if c.TLS != nil {
		body.TLS = &unixipc.TLSBody{Version: tls.VersionName(c.TLS.Version()), Suite: tls.CipherSuiteName(c.TLS.CipherSuite())}
	}
	return body
}

func (t toChargers) LinkReady(l *relay.Link) {
	t.links.writable = append(t.links.writable, l)
	if at := t.links.all[l]; at != nil {
		t.linkChanged(at)
	}
}

func (t toChargers) Forward(loop int, f func(*relay.Relay)) {
	there := t.shards[loop]
	there.Loop.Post(func() { f(there.Relay) })
}

func (t toChargers) Called(identity string, status unixipc.Status, took time.Duration) {
	t.Counters.Called(status, took)
	t.Log.Debug("call ended", "charger", identity, "status", string(status), "took", took.String())
}

// nackLogInterval is the least time between two lines about NACKs: a processor whose
// database is down gives back the deliveries of all its chargers.
const nackLogInterval = 10 * time.Second

func (t toChargers) GivenBackAgain(identity, processor string, times int, oldest time.Duration) {
	now := t.Loop.Now()
	if now.Sub(t.nacksLogged) < nackLogInterval {
		t.nacksUnlogged++
		return
	}
	t.Log.Warn("deliveries of a charger are given back again and again", "charger", identity, "processor", processor,
		"times", times, "oldest", oldest.Round(time.Second).String(), "other_chargers", t.nacksUnlogged)
	t.nacksLogged, t.nacksUnlogged = now, 0
}

func (t toChargers) NotTaken(identity string, messages int) {
	t.Counters.NotTaken += uint64(messages)
	t.Log.Warn("messages not taken: the queue was full when the connection ended", "charger", identity, "messages", messages)
}

func (t toChargers) Poison(identity string, payload []byte, attempts int) {
	t.Counters.Poison++
	t.Log.Error("message given up: processors died of it", "charger", identity, "attempts", attempts,
		"bytes", len(payload), "message", string(payload[:min(len(payload), 200)]))
}

// CertificateBody returns c in the form that processors receive; nil for nil.
func CertificateBody(c *conn.Certificate) *unixipc.CertificateBody {
	if c == nil {
		return nil
	}
	return &unixipc.CertificateBody{Subject: c.Subject, SANs: c.Names}
}
