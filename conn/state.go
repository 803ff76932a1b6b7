package conn

import (
	"net/netip"
	"unique"

	"holdfast/conn/record"
)

// State is everything about a held connection that is not the socket itself:
// a plain value. Copying it is saving it.
type State struct {
	Identity    string
	Path        Name // the prefix of the request's path
	Subprotocol Name
	Opened      int64         // Unix time, milliseconds
	TLS         *record.Layer // nil: ws
	Certificate *Certificate  // of the charger, verified; nil: none
	Remote      Remote        // small fields follow: they share a word

	// DeflateBits is the window of permessage-deflate toward the charger, 8 to
	// 15 bits; 0: not negotiated.
	DeflateBits uint8

	phase phase
	pause pause
	why   *Close // from phaseClosing on: how the connection ends

	decoder decoder
	out     *outbound // not written yet
}

// Certificate is what is kept of a charger's certificate.
type Certificate struct {
	Subject string   // RFC 2253
	Names   []string // its subject alternative names
}

// Name is a string that many connections share, kept once.
type Name struct{ handle unique.Handle[string] }

// MakeName returns the Name of s.
func MakeName(s string) Name { return Name{unique.Make(s)} }

func (n Name) String() string {
	if n == (Name{}) {
		return ""
	}
	return n.handle.Value()
}

// Remote is the address and port of a charger, in less room than netip's.
type Remote struct {
	ip   [16]byte // IPv4 mapped into IPv6
	port uint16
}

// MakeRemote returns a as a Remote. A zone is dropped.
func MakeRemote(a netip.AddrPort) Remote { return Remote{a.Addr().As16(), a.Port()} }

// AddrPort is the address as net/netip has it.
func (r Remote) AddrPort() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(r.ip).Unmap(), r.port)
}

// Addr is the address without the port.
func (r Remote) Addr() netip.Addr { return netip.AddrFrom16(r.ip).Unmap() }

func (r Remote) String() string { return r.AddrPort().String() }

// phase of a connection. It only ever moves forward:
//
//	open ──▶ closing ──▶ lingering ──▶ gone
//	  └─────────┴─────────────┴─────────▲
type phase uint8

const (
	// phaseOpen: messages flow both ways.
	phaseOpen phase = iota
	// phaseClosing: our Close frame is queued or sent, the charger's is
	// awaited; its messages are still received.
	phaseClosing
	// phaseLingering: no message comes or goes any more; what is unwritten goes
	// out, then our side is shut down and the charger's end of stream awaited,
	// so that no reset destroys the Close frame on its way.
	phaseLingering
	// phaseGone: the socket is closed; the struct is reused after the turn.
	phaseGone
)

// pause is a set of reasons for not reading from a charger.
type pause uint8

const (
	// pauseQueue: the user of the loop asked for it: the charger's queue is full.
	pauseQueue pause = 1 << iota
	// pauseOut: the charger does not read what is sent to it.
	pauseOut
	// pauseMemory: the loop holds as many bytes of partial messages as it may.
	pauseMemory
)

// outbound holds what is to be written to a charger. It exists only while
// there is something.
type outbound struct {
	buf []byte
	off int // buf[:off] is written
	// With TLS, off follows whole batches of records:
	sealed  int    // buf[off:][:sealed] is sealed
	records []byte // and of the records that hold it, and of those without data, this is unwritten
	base    uint64 // bytes written and cut off before buf: positions count from the beginning
	last    uint64 // position behind the last message whose end somebody waits for

	// For a hand-over, see kept: the reader holds everything before the position
	// sent, and the first recordsSent bytes of records.
	sent        uint64
	recordsSent int
}

// pending is what is still to be written of the charger's bytes.
func (o *outbound) pending() int { return len(o.buf) - o.off }

// waiting is what there is to write, in bytes; 0: all is written.
func (o *outbound) waiting() int { return o.pending() - o.sealed + len(o.records) }
