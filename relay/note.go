package relay

import (
	"encoding/json"
	"fmt"
	"slices"

	"holdfast/unixipc"
)

// A note is what a processor has left with a charger's connection: bytes that mean
// nothing here, given in a VERDICT or in the ACK of an OPENED, and shown in every OPENED
// of the connection, and in AUTHORIZE. It is kept beside the chargers, so that one
// without a note has no byte for it. It goes when the charger connects again, or, when it
// does not, once what it left is acknowledged. No queue has it: it is added as OPENED
// is delivered, so that what is shown is always the last that was left.

// setNote replaces c's note; an empty one is none.
func (r *Relay) setNote(c *Charger, note []byte) {
	if len(note) == 0 && r.notes[c] == nil {
		return
	}
	r.touch(c)
	clear(r.notes[c]) // it may be a secret
	if len(note) == 0 {
		delete(r.notes, c)
		return
	}
	if r.notes == nil {
		r.notes = make(map[*Charger][]byte)
	}
	r.notes[c] = slices.Clone(note)
}

// leaveNote takes what came with the ACK of e, an OPENED. Unless it is a note, the
// processor gets a RESULT with the reason.
func (r *Relay) leaveNote(l *Link, c *Charger, e *entry, payload []byte) {
	var body unixipc.AckBody
	why := ""
	switch err := json.Unmarshal(payload, &body); {
	case err != nil:
		why = `OPENED takes no reply; its ACK may have a note, {"note": "…"} in base64`
	case len(body.Note) > unixipc.MaxNote:
		why = fmt.Sprintf("a note of %d bytes; at most %d", len(body.Note), unixipc.MaxNote)
	}
	if why != "" {
		r.sendResult(Asker{r.cfg.Loop, l.id}, unixipc.ForDelivery, uint64(e.number), c.identity, unixipc.ResultBody{Status: unixipc.StatusRefused, Detail: why})
		return
	}
	if body.Note != nil && e.session == c.session { // else it is that of a connection that is gone
		r.setNote(c, body.Note)
	}
}

// noted is the body of e, an OPENED, with the note of its connection.
func (r *Relay) noted(c *Charger, e *entry, payload []byte) []byte {
	note := r.notes[c]
	if note == nil || e.session != c.session {
		return payload
	}
	var body unixipc.OpenedBody
	if json.Unmarshal(payload, &body) != nil {
		return payload // another process has written it
	}
	body.Note = note
	b, _ := json.Marshal(body)
	return b
}
