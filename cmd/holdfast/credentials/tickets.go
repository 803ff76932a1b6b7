package credentials

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"time"
)

// Tickets are the keys of TLS session tickets, with which a charger that comes
// back spares both sides the costly half of the handshake. They are handed over
// in an upgrade, so that all chargers can after one, and otherwise leave the
// process never.
type Tickets struct {
	changed func([][32]byte)

	mu   sync.Mutex
	keys []TicketKey // the newest first: it makes tickets, all open them
}

type TicketKey struct {
	made int64 // Unix time, seconds
	key  [32]byte
}

const (
	ticketRotation = 24 * time.Hour
	ticketKeys     = 7 // RFC 8446 section 4.6.1: a ticket lives for at most 7 days
)

func newTickets() *Tickets {
	t := new(Tickets)
	t.rotate(time.Now())
	return t
}

// rotate makes a new key if the newest is too old.
func (t *Tickets) rotate(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.keys) > 0 && now.Unix()-t.keys[0].made < int64(ticketRotation.Seconds()) {
		return
	}
	k := TicketKey{made: now.Unix()}
	_, _ = rand.Read(k.key[:]) // never fails
	t.set(append([]TicketKey{k}, t.keys...))
}

// set is called with mu held.
func (t *Tickets) set(keys []TicketKey) {
	t.keys = keys[:min(len(keys), ticketKeys)]
	if t.changed != nil {
		t.changed(bare(t.keys))
	}
}

func bare(keys []TicketKey) (all [][32]byte) {
	for _, k := range keys {
		all = append(all, k.key)
	}
	return all
}

// all returns the keys, the newest first.
func (t *Tickets) all() [][32]byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return bare(t.keys)
}

// Run rotates for as long as the process lives.
func (t *Tickets) Run() {
	for now := range time.Tick(ticketRotation / 24) {
		t.rotate(now)
	}
}

// Append encodes the keys for the next process: for each 8 bytes of time and 32
// of key.
func (t *Tickets) Append(dst []byte) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range t.keys {
		dst = binary.BigEndian.AppendUint64(dst, uint64(k.made))
		dst = append(dst, k.key[:]...)
	}
	return dst
}

func ParseTickets(b []byte) (keys []TicketKey, err error) {
	const size = 8 + 32
	if len(b) == 0 || len(b)%size != 0 || len(b) > ticketKeys*size {
		return nil, errors.New("keys of session tickets are malformed")
	}
	for one := range slices.Chunk(b, size) {
		k := TicketKey{made: int64(binary.BigEndian.Uint64(one))}
		copy(k.key[:], one[8:])
		keys = append(keys, k)
	}
	return keys, nil
}

// Adopt goes on with the keys of the process before.
func (t *Tickets) Adopt(keys []TicketKey) {
	t.mu.Lock()
	t.set(keys)
	t.mu.Unlock()
	t.rotate(time.Now())
}
