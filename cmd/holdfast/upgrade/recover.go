package upgrade

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"holdfast/cmd/holdfast/credentials"
	"holdfast/cmd/holdfast/item"
	"holdfast/cmd/holdfast/metrics"
	"holdfast/cmd/holdfast/shard"
	"holdfast/conn"
	"holdfast/relay"
	"holdfast/unixipc/handoff"
	"holdfast/unixipc/journal"
	"holdfast/unixipc/keep"

	"golang.org/x/sys/unix"
)

// Theory of operation: an upgrade whose old side is dead
//
// A gateway that finds a keeper with the memory of one that has died goes on from that:
// the items are staged as in an upgrade, each with the socket that the keeper has for it.
// Then
//
//	what the dead process had written of an item's output counts as written,
//	what it had read and not committed is handled again, before any socket is read.
//
// Everything is written down in a memory of this process, with what is to be handled again,
// before the keeper is told that this memory is the valid one. Until then nothing is read
// or written, so that a crash in between changes nothing: the next process finds what
// this one has found.
//
// An item that does not decode costs itself, no other. What a process had not handled for
// good when it died is handled again, alone; if the next process dies at that, and one more,
// then what came is the culprit, and whoever sent it is closed, nobody else. (A kill from
// outside hits somebody who sends much again and again, but hardly ever that moment twice.)
// maxCrashes in crashLoop without such a culprit start empty: something else is wrong, and
// the state is the suspect.

const (
	maxCrashes = 5
	crashLoop  = time.Minute
)

// Recovered is what was found.
type Recovered struct {
	Connections, Links int
	Lost               int    // items that do not decode, or have no socket
	Culprits           int    // closed: the gateway has died again and again of what they sent
	Crashes            int    // within crashLoop, this one included
	Nothing            bool   // there was nothing to go on from
	ByOrder            bool   // it was no crash: the process has ended by order
	Empty              string // why nothing was taken over; "": it was
}

// recovery is one, under way.
type recovery struct {
	stage  *stage
	shard  *shard.Shard
	log    *slog.Logger
	left   *journal.Left
	fds    map[uint64]int // by slot; those that are taken are removed
	taken  map[journal.Slot]*staged
	guilty map[journal.Slot]bool
	lost   []*relay.Link
	out    Recovered
}

// Recover takes over what a process has left with the keeper into s, whose loop must not
// run yet, and has it written down in j and kept by owner. It owns the fds of found.
func Recover(found keep.Inherited, s *shard.Shard, j *journal.Journal, owner *keep.Owner, unkept func(error), counters *metrics.Counters, keys *credentials.Tickets) (Recovered, error) {
	r := &recovery{
		stage: newStage([]*shard.Shard{s}, counters, keys), shard: s, log: s.Log,
		fds: make(map[uint64]int, len(found.Items)), taken: map[journal.Slot]*staged{}, guilty: map[journal.Slot]bool{},
	}
	for _, it := range found.Items {
		r.fds[it.ID] = it.FD
	}
	var inputs []journal.Input
	meta := shard.Meta{Instance: s.Relay.Instance()}
	r.out.Nothing = found.Memory < 0
	if found.Memory >= 0 {
		left, err := journal.Open(found.Memory)
		_ = unix.Close(found.Memory)
		switch {
		case errors.Is(err, journal.ErrEnded):
			r.out.Nothing = true
		case err != nil:
			r.out.Empty = err.Error()
		default:
			defer left.Close()
			r.left = left
			meta = r.readMeta(meta)
		}
	}
	s.Relay.SetInstance(meta.Instance)
	if err := s.KeepWith(j, owner, unkept); err != nil {
		return r.out, err
	}
	if r.left != nil && r.out.Empty == "" {
		s.Relay.SetLastLink(meta.LastLink)
		inputs = r.takeItems()
	}
	for slot, fd := range r.fds { // nobody's, or not to be taken
		_ = shard.CloseFD(fd)
		s.Forsake(journal.Slot(slot))
	}
	s.Complete(meta, inputs)
	if err := s.Own(); err != nil {
		return r.out, err
	}
	r.out.Connections, r.out.Links = r.stage.activate()
	s.Loop.Post(func() {
		s.Loop.SaveRest()
		for _, l := range r.lost {
			s.Relay.Lost(l)
		}
		r.replay(inputs)
		s.Replayed()
	})
	s.Loop.RunPosted()
	s.Loop.Recovered()
	s.Loop.Post(func() {}) // the first turn comes at once
	return r.out, nil
}

// readMeta reads what was written down of the gateway, and finds the culprit.
func (r *recovery) readMeta(meta shard.Meta) shard.Meta {
	for _, it := range r.left.Items {
		if kind, _, first, _, err := item.Parse(it.Blob); err == nil && kind == shard.ItemMeta {
			if err := json.Unmarshal(first, &meta); err != nil {
				r.log.Error("what was written down of the gateway does not parse", "err", err)
			}
		}
	}
	if r.left.Opened > maxCrashes && !crashLoopsAllowed() {
		r.out.Empty = fmt.Sprintf("%d processes have died of it before they could go on", r.left.Opened-1)
		return meta
	}
	now := time.Now()
	crashes := meta.Crashes[:0]
	for _, c := range meta.Crashes {
		if age := now.Sub(time.UnixMilli(c.At)); age >= 0 && age < crashLoop {
			crashes = append(crashes, c)
		}
	}
	if r.out.ByOrder = meta.Left; meta.Left {
		meta.Left, meta.Crashes = false, crashes
		return meta
	}
	died := shard.Crash{At: now.UnixMilli(), Working: r.left.Working, Again: r.left.Again}
	culprit := false
	if n := len(crashes); n > 0 && died.Again && died.Working != 0 {
		culprit = crashes[n-1].Again && crashes[n-1].Working == died.Working
	}
	meta.Crashes = append(crashes, died)
	r.out.Crashes = len(meta.Crashes)
	switch {
	case culprit:
		r.guilty[died.Working] = true
	case r.out.Crashes >= maxCrashes && !crashLoopsAllowed():
		r.out.Empty = fmt.Sprintf("the gateway has died %d times within %v, and of nobody's message", r.out.Crashes, crashLoop)
		meta.Crashes = nil
	}
	return meta
}

// takeItems stages the items, and returns what is to be handled again.
func (r *recovery) takeItems() (inputs []journal.Input) {
	var links, others []journal.Item
	for _, it := range r.left.Items {
		switch kind, _, first, _, err := item.Parse(it.Blob); {
		case err != nil:
			r.lose(it, err)
		case kind == item.Link:
			links = append(links, it)
		case kind == shard.ItemInputs:
			inputs = append(inputs, shard.ParseInputs(first)...)
		case kind != shard.ItemMeta:
			others = append(others, it)
		}
	}
	for _, it := range append(links, others...) {
		if err := r.take(it); err != nil {
			r.lose(it, err)
		}
	}
	for held := range r.stage.unfit {
		r.log.Error("a connection and its charger do not fit: it is closed", "charger", held.conn.Identity)
		r.stage.release(held)
		r.shard.Forsake(held.conn.Slot())
		held.conn.Abandon()
	}
	for _, slot := range r.left.Broken {
		r.lose(journal.Item{Slot: slot}, errSum)
	}
	return append(inputs, r.left.Reads...)
}

var errSum = fmt.Errorf("its checksum fails")

// take stages one item.
func (r *recovery) take(it journal.Item) error {
	kind, loop, _, second, err := item.Parse(it.Blob)
	if err != nil {
		return err
	}
	if loop != r.shard.Index {
		return fmt.Errorf("item of loop %d", loop)
	}
	in := handoff.Item{ID: uint64(it.Slot), FD: -1, State: it.Blob}
	if kind == item.Link || kind == item.Charger {
		fd, ok := r.fds[in.ID]
		if !ok {
			return fmt.Errorf("the keeper has no socket for it")
		}
		in.FD = fd
	}
	if len(second) > 0 {
		owner, err := r.shard.Relay.OwnerOf(second)
		if err != nil {
			return err
		}
		if owner != 0 && !r.shard.Relay.HasLink(owner) {
			r.lost = append(r.lost, r.shard.Relay.AdoptLost(owner))
		}
	}
	r.stage.begun = it.Extra
	if err := r.stage.Put(in); err != nil {
		delete(r.fds, in.ID) // closed
		return err
	}
	delete(r.fds, in.ID)
	held := r.stage.items[in.ID]
	r.taken[it.Slot] = held
	switch {
	case held.conn != nil:
		return r.shard.ResettleConn(held.conn, it.Slot, it.Written)
	case held.link != nil:
		return r.shard.ResettleLink(held.link, it.Slot, it.Written)
	}
	return nil
}

// lose notes that an item is not taken over.
func (r *recovery) lose(it journal.Item, why error) {
	r.out.Lost++
	r.log.Error("an item of the gateway before is lost", "slot", it.Slot, "bytes", len(it.Blob), "reason", why.Error())
}

// replay handles again what was read, and ends whoever the gateway has died of twice.
func (r *recovery) replay(inputs []journal.Input) {
	for slot := range r.guilty {
		held := r.taken[slot]
		if held == nil {
			continue
		}
		r.out.Culprits++
		if held.conn != nil {
			r.log.Error("the gateway has died again and again of what a charger sent: its connection is closed", "charger", held.conn.Identity)
			held.conn.Condemn(conn.ReasonPoison.Close())
		} else {
			r.log.Error("the gateway has died again and again of what a processor sent: its link is closed", "processor", held.link.Relay.Name())
			r.shard.Relay.Refuse(held.link.Relay, "the gateway has died again and again of what came here")
		}
	}
	for _, in := range inputs {
		held := r.taken[in.Slot]
		switch {
		case held == nil || r.guilty[in.Slot]:
		case held.conn != nil:
			held.conn.Replay(append([]byte(nil), in.Data...))
		case held.link != nil:
			r.shard.ReplayLink(held.link, append([]byte(nil), in.Data...))
		}
	}
}
