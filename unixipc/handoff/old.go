package handoff

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"slices"
	"time"

	"holdfast/unixipc"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Old is the end of the process that hands over. It is used by one goroutine
// at a time.
type Old struct {
	s     stream
	limit time.Duration

	batch   []byte
	fds     []int
	number  uint64 // of the last batch sent
	took    uint64 // of the last batch answered
	sum     sealed
	started bool
}

// NewOld returns Old's end over conn. Each wait for New is limited to limit;
// SetLimit changes it.
func NewOld(conn *net.UnixConn, limit time.Duration) *Old {
	return &Old{s: stream{conn: conn}, limit: limit}
}

// SetLimit bounds each of the following waits.
func (o *Old) SetLimit(limit time.Duration) { o.limit = limit }

// Hello waits until New has introduced itself.
func (o *Old) Hello() (h Hello, err error) {
	point("old", "hello")
	if err := o.s.within(o.limit); err != nil {
		return h, err
	}
	f, err := o.s.expect(frameHello)
	if err != nil {
		return h, err
	}
	if err := json.Unmarshal(f.Payload, &h); err != nil {
		return h, fmt.Errorf("HELLO of the new process: %w", err)
	}
	return h, nil
}

// Begin announces the state, in a version that both sides know.
func (o *Old) Begin(b Begin) error {
	point("old", "begin")
	payload, err := json.Marshal(b)
	if err != nil {
		return fmt.Errorf("BEGIN: %w", err)
	}
	if err := o.s.within(o.limit); err != nil {
		return err
	}
	return o.s.send(frameBegin, 0, payload, nil)
}

// Put hands over something new. It may wait in a batch until Flush.
func (o *Old) Put(it Item) error {
	o.sum.Items++
	return o.add(opPut, it)
}

// Update replaces the state of an item.
func (o *Old) Update(id uint64, state []byte) error {
	return o.add(opUpdate, Item{ID: id, FD: -1, State: state})
}

// Drop takes an item back.
func (o *Old) Drop(id uint64) error {
	o.sum.Items--
	return o.add(opDrop, Item{ID: id, FD: -1})
}

func (o *Old) add(p op, it Item) error {
	o.batch = appendItem(o.batch, p, it)
	if it.FD >= 0 {
		o.fds = append(o.fds, it.FD)
	}
	if len(o.batch) >= maxBatch || len(o.fds) == unixipc.MaxFDs {
		return o.sendBatch()
	}
	return nil
}

func (o *Old) sendBatch() error {
	if len(o.batch) == 0 {
		return nil
	}
	if !o.started {
		o.started = true
		point("old", "precopy")
	}
	if err := o.s.within(o.limit); err != nil {
		return err
	}
	if err := o.wait(maxOutstanding - 1); err != nil {
		return err
	}
	o.number++
	o.sum.FDs += len(o.fds)
	o.sum.Bytes += int64(len(o.batch))
	o.sum.Checksum = crc32.Update(o.sum.Checksum, castagnoli, o.batch)
	err := o.send(frameItems, o.number, o.batch, o.fds)
	o.batch, o.fds = o.batch[:0], o.fds[:0]
	return err
}

// send sends a frame. If that fails, New may have said why before it went away.
func (o *Old) send(t unixipc.Type, ref uint64, payload []byte, fds []int) error {
	err := o.s.send(t, ref, payload, fds)
	if err != nil {
		var refused *RefusedError
		if waitErr := o.wait(0); errors.As(waitErr, &refused) {
			return waitErr
		}
	}
	return err
}

// wait waits until at most n batches are unanswered.
func (o *Old) wait(n uint64) error {
	for o.number-o.took > n {
		f, err := o.s.expect(frameTook)
		if err != nil {
			return err
		}
		if f.Ref != o.took+1 {
			return fmt.Errorf("TOOK of batch %d instead of %d", f.Ref, o.took+1)
		}
		o.took++
	}
	return nil
}

// Send sends what waits.
func (o *Old) Send() error { return o.sendBatch() }

// Flush sends what waits, and waits until New has taken everything.
func (o *Old) Flush() error {
	if err := o.sendBatch(); err != nil {
		return err
	}
	return o.wait(0)
}

// Bytes is how much state was sent so far.
func (o *Old) Bytes() int64 { return o.sum.Bytes }

// Seal ends the state and waits until New has verified it.
func (o *Old) Seal() error {
	point("old", "final")
	if err := o.sendBatch(); err != nil {
		return err
	}
	payload, err := json.Marshal(o.sum)
	if err != nil {
		return fmt.Errorf("SEALED: %w", err)
	}
	if err := o.s.within(o.limit); err != nil {
		return err
	}
	if err := o.send(frameSealed, 0, payload, nil); err != nil {
		return err
	}
	point("old", "sealed")
	if err := o.wait(0); err != nil {
		return err
	}
	_, err = o.s.expect(framePrepared)
	return err
}

// ErrInDoubt says that COMMIT may have been read but ACTIVE has not come.
var ErrInDoubt = errors.New("the new process was told to take over and has not answered")

// Commit gives everything away. A nil error says that New owns it; ErrInDoubt
// that it may.
func (o *Old) Commit() error {
	point("old", "prepared")
	if err := o.s.within(o.limit); err != nil {
		return err
	}
	if err := o.s.send(frameCommit, 0, nil, nil); err != nil {
		return fmt.Errorf("%w: %w", ErrInDoubt, err)
	}
	point("old", "committed")
	if _, err := o.s.expect(frameActive); err != nil {
		return fmt.Errorf("%w: %w", ErrInDoubt, err)
	}
	return nil
}

// SawActive tells whether New has become active, by what it has left here so
// far. If New is dead, that is the last word.
func (o *Old) SawActive() (bool, error) {
	for {
		f, ok, err := o.s.buffered()
		switch {
		case err != nil:
			return true, err // not known: assume the worse
		case ok && f.Type == frameActive:
			return true, nil
		case ok:
			continue
		}
		if more, err := o.s.fillNow(); err != nil || !more {
			return err != nil, err
		}
	}
}

// Late hands over something that was not ready in time; only after Commit.
func (o *Old) Late(it Item) error {
	point("old", "late")
	if err := o.s.within(o.limit); err != nil {
		return err
	}
	o.number++
	batch := appendItem(nil, opPut, it)
	var fds []int
	if it.FD >= 0 {
		fds = []int{it.FD}
	}
	if err := o.s.send(frameItems, o.number, batch, fds); err != nil {
		return err
	}
	return o.wait(0)
}

// End says that nothing more comes.
func (o *Old) End() error {
	if err := o.s.within(o.limit); err != nil {
		return err
	}
	return o.s.send(frameEnd, 0, nil, nil)
}

// CloseRead ends every wait for New once what it has left is read: New is dead.
func (o *Old) CloseRead() error { return o.s.conn.CloseRead() }

// Close closes the channel.
func (o *Old) Close() { o.s.close() }

// Knows reports whether New has named the feature.
func (h Hello) Knows(feature string) bool { return slices.Contains(h.Features, feature) }

// Speak chooses the newest version of the state that New reads, among those
// that Old can write.
func (h Hello) Speak(writes []uint8) (uint8, error) {
	var best uint8
	for _, v := range writes {
		if slices.Contains(h.Versions, v) && v > best {
			best = v
		}
	}
	if best == 0 {
		return 0, fmt.Errorf("the new process (%s) reads versions %v of the state, this one writes %v: no version in common", h.Program, h.Versions, writes)
	}
	return best, nil
}
