package handoff

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"net"

	"holdfast/unixipc"
)

// Stager is who receives the items on New's side. An error refuses the
// hand-over, with its text as the reason.
type Stager interface {
	// Put stages an item. Its FD is the stager's, also if it returns an error;
	// State is good during the call only.
	Put(it Item) error
	// Update replaces the state of an item that was put, or adds to it, if a
	// feature in Hello allows that.
	Update(id uint64, state []byte) error
	// Drop forgets an item that was put: its fd is to be closed, not shut down.
	Drop(id uint64) error
	// Verify is asked when everything has come. After nil, nothing may be left
	// that could fail.
	Verify() error
}

// New is the end of the process that takes over.
type New struct {
	s     stream
	known map[uint64]bool
	took  sealed
}

// NewNew returns New's end over conn.
func NewNew(conn *net.UnixConn) *New {
	return &New{s: stream{conn: conn}, known: map[uint64]bool{}}
}

// Hello introduces New, and waits for the beginning of the state.
func (n *New) Hello(h Hello) (b Begin, err error) {
	point("new", "start")
	payload, err := json.Marshal(h)
	if err != nil {
		return b, fmt.Errorf("HELLO: %w", err)
	}
	if err := n.s.send(frameHello, 0, payload, nil); err != nil {
		return b, err
	}
	point("new", "hello")
	f, err := n.s.expect(frameBegin)
	if err != nil {
		return b, n.Refuse(err)
	}
	if err := json.Unmarshal(f.Payload, &b); err != nil {
		return b, n.Refuse(fmt.Errorf("BEGIN: %w", err))
	}
	point("new", "begin")
	return b, nil
}

// Refuse tells Old why New does not take over, and returns why.
func (n *New) Refuse(why error) error {
	_ = n.s.send(frameRefused, 0, []byte(why.Error()), nil) // or it learns by our death
	return why
}

// Receive stages everything, has it verified, and waits for COMMIT, after which
// it says ACTIVE and returns nil: everything is New's. After an error nothing is.
func (n *New) Receive(st Stager) error {
	for {
		f, err := n.s.receive()
		if err != nil {
			return n.Refuse(err)
		}
		switch f.Type {
		case frameItems:
			if err := n.items(f, st); err != nil {
				return n.Refuse(err)
			}
			if f.Ref == 1 {
				point("new", "precopy")
			}
			if err := n.s.send(frameTook, f.Ref, nil, nil); err != nil {
				return err
			}
		case frameSealed:
			point("new", "sealed")
			if err := n.verify(f, st); err != nil {
				return n.Refuse(err)
			}
			if err := n.s.send(framePrepared, 0, nil, nil); err != nil {
				return err
			}
			point("new", "prepared")
			if _, err := n.s.expect(frameCommit); err != nil {
				return err
			}
			point("new", "committed")
			// Whether Old still hears it or not: everything is ours now.
			_ = n.s.send(frameActive, 0, nil, nil)
			point("new", "active")
			return nil
		default:
			return n.Refuse(fmt.Errorf("%s has no business before COMMIT", frameNames[f.Type]))
		}
	}
}

// items stages one batch.
func (n *New) items(f unixipc.Frame, st Stager) error {
	n.took.Bytes += int64(len(f.Payload))
	n.took.Checksum = crc32.Update(n.took.Checksum, castagnoli, f.Payload)
	for b := f.Payload; len(b) > 0; {
		o, hasFD, it, rest, err := parseItem(b)
		if err != nil {
			return err
		}
		b = rest
		if hasFD {
			if it.FD, err = n.s.takeFD(); err != nil {
				return err
			}
			n.took.FDs++
		}
		if n.known[it.ID] != (o != opPut) {
			return fmt.Errorf("item %d: operation %d on what is there, or not", it.ID, o)
		}
		switch o {
		case opPut:
			n.known[it.ID] = true
			err = st.Put(it)
		case opUpdate:
			err = st.Update(it.ID, it.State)
		case opDrop:
			delete(n.known, it.ID)
			err = st.Drop(it.ID)
		}
		if err != nil {
			return fmt.Errorf("item %d: %w", it.ID, err)
		}
	}
	return nil
}

func (n *New) verify(f unixipc.Frame, st Stager) error {
	var want sealed
	if err := json.Unmarshal(f.Payload, &want); err != nil {
		return fmt.Errorf("SEALED: %w", err)
	}
	n.took.Items = len(n.known)
	if n.took != want {
		return fmt.Errorf("received %+v, but %+v was sent", n.took, want)
	}
	if len(n.s.fds) > 0 {
		return fmt.Errorf("%d file descriptors came that belong to nothing", len(n.s.fds))
	}
	return st.Verify()
}

// Late calls put for each item that follows after Receive, and returns when
// there are no more: nil after END, and also when Old has just gone.
func (n *New) Late(put func(Item)) error {
	for {
		f, err := n.s.receive()
		switch {
		case errors.Is(err, errEnd):
			return nil
		case err != nil:
			return err
		case f.Type == frameEnd:
			return nil
		case f.Type != frameItems:
			return fmt.Errorf("%s has no business after COMMIT", frameNames[f.Type])
		}
		for b := f.Payload; len(b) > 0; {
			o, hasFD, it, rest, err := parseItem(b)
			if err == nil && o != opPut {
				err = fmt.Errorf("late item with operation %d", o)
			}
			if err == nil && hasFD {
				it.FD, err = n.s.takeFD()
			}
			if err != nil {
				return err
			}
			b = rest
			put(it)
		}
		if err := n.s.send(frameTook, f.Ref, nil, nil); err != nil {
			return err
		}
	}
}

// Close closes the channel, and what nobody has taken.
func (n *New) Close() { n.s.close() }
