package keep

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"holdfast/unixipc"
)

// maxUnanswered is how many ITEMS may be without a TOOK.
const maxUnanswered = 4

// onClaim notes a claim; answerClaims answers it, at the end of the turn or later.
func (k *Keeper) onClaim(c *conn, m message, fds []int) (kept bool, err error) {
	switch {
	case c == k.owner.conn || c.claim >= 0:
		return false, errors.New("a second CLAIM")
	case m.version != version:
		return false, fmt.Errorf("CLAIM of version %d; this keeper speaks version %d", m.version, version)
	}
	pid, err := pidOf(fds[0])
	if err != nil {
		return false, err
	}
	if pid != c.peer.PID {
		return false, fmt.Errorf("process %d claims for process %d", c.peer.PID, pid)
	}
	c.claim, c.deadline = fds[0], k.now.Add(deathLimit)
	return true, nil
}

// answerClaims answers the claims that can be answered, oldest first.
func (k *Keeper) answerClaims() {
	for _, c := range slices.Clone(k.conns) {
		if c.claim < 0 {
			continue
		}
		lives, o := k.ownerLives(), &k.owner
		if c.fd < 0 {
			continue
		}
		switch {
		case !lives && o.conn == nil, o.conn == nil && o.pid == c.peer.PID && o.pid > 0:
			k.grant(c)
		case lives && o.conn != nil:
			k.refuse(c, fmt.Sprintf("process %d, which lives, is the owner", o.pid))
		case !lives && k.now.After(c.deadline):
			k.refuse(c, fmt.Sprintf("process %d is dead, but another one has its connection, and may be about to go on", o.pid))
		case k.now.After(c.deadline):
			k.refuse(c, fmt.Sprintf("process %d is the owner and lives, though its connection has ended", o.pid))
		}
	}
}

// grant makes the process of c the claimant.
func (k *Keeper) grant(c *conn) {
	k.closeOwner()
	k.owner = owner{
		state: claiming, conn: c, pidfd: c.claim, pid: c.peer.PID,
		unsent: make([]uint64, 0, k.Kept()),
		stall:  k.now.Add(tookLimit),
	}
	c.claim, k.ends = -1, time.Time{}
	for id, fd := range k.items {
		if fd != noRoom {
			k.owner.unsent = append(k.owner.unsent, id)
		}
	}
	slices.Sort(k.owner.unsent)
	k.Log.Info("keeper: claimed", "process", k.owner.pid, "kept", k.Kept(), "memory", k.memory >= 0)
	k.pump()
}

// onTook: one ITEMS has arrived.
func (k *Keeper) onTook() error {
	if k.owner.unanswered == 0 {
		return errors.New("TOOK without ITEMS")
	}
	k.owner.unanswered--
	k.owner.stall = k.now.Add(tookLimit)
	k.pump()
	return nil
}

// pump sends to the claimant what it may get now.
func (k *Keeper) pump() {
	o := &k.owner
	for o.state == claiming && o.conn != nil {
		var err error
		switch {
		case !o.stated:
			if err = k.sendState(); err == nil {
				o.stated = true
			}
		case len(o.unsent) > 0 && o.unanswered < maxUnanswered:
			n := min(len(o.unsent), unixipc.MaxFDs)
			if err = k.sendItems(o.unsent[:n]); err == nil {
				o.unsent = o.unsent[n:]
				o.unanswered++
			}
		case o.unanswered > 0:
			return
		default:
			if err = send(o.conn.fd, message{kind: msgEnd}.append(nil), nil); err == nil {
				o.state, o.unsent = claimed, nil
			}
		}
		o.again = time.Time{}
		switch {
		case err == errLater:
			o.again = k.now.Add(laterDelay)
			return
		case err != nil:
			k.Log.Warn("keeper: cannot send to the claimant", "process", o.pid, "error", err)
			k.gone(o.conn)
		}
	}
}

func (k *Keeper) sendState() error {
	var fds []int
	if k.memory >= 0 {
		fds = []int{k.memory}
	}
	return send(k.owner.conn.fd, message{kind: msgState, version: version, items: uint32(k.Kept())}.append(nil), fds)
}

func (k *Keeper) sendItems(ids []uint64) error {
	b := make([]byte, 0, 1+len(ids)*idSize)
	b = append(b, byte(msgItems))
	fds := make([]int, len(ids))
	for i, id := range ids {
		b = binary.BigEndian.AppendUint64(b, id)
		fds[i] = int(k.items[id])
	}
	return send(k.owner.conn.fd, b, fds)
}
