package relay

import (
	"bytes"
	"encoding/json"
	"fmt"

	"holdfast/unixipc"
)

// newNote is a note to be left with a connection; nil: none.
func (m *model) newNote(conn uint64) []byte {
	if m.rnd.IntN(2) == 0 {
		return nil
	}
	m.Notes++
	return fmt.Append(nil, conn, "/", m.Notes)
}

// leaveNote has a processor leave a note with the acknowledgement of an OPENED, take one
// away, or do neither.
func (m *model) leaveNote(c *modelCharger, opened []byte) (payload []byte) {
	var body unixipc.OpenedBody
	_ = json.Unmarshal(opened, &body)
	switch m.rnd.IntN(4) {
	case 0:
		payload = []byte(`{"note":""}`)
	case 1:
		payload, _ = json.Marshal(unixipc.AckBody{Note: m.newNote(c.conn)})
	default:
		return nil
	}
	var left unixipc.AckBody
	if _ = json.Unmarshal(payload, &left); left.Note != nil && body.Remote == fmt.Sprint(c.conn) {
		c.note = left.Note
	}
	return payload
}

// checkNote: an OPENED shows the note that was left last with its connection. Of one that
// another has followed, it may show none.
func (m *model) checkNote(c *modelCharger, body unixipc.OpenedBody) {
	want := c.note
	if body.Remote != fmt.Sprint(c.conn) {
		if len(body.Note) == 0 {
			return
		}
		want = c.noteBefore
	}
	if !bytes.Equal(body.Note, want) {
		m.fail("OPENED of %s, connection %s of %d, shows the note %q instead of %q", c.identity, body.Remote, c.conn, body.Note, want)
	}
}
