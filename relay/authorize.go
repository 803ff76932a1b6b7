package relay

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"holdfast/unixipc"
)

// The reasons why there is no verdict.
var (
	// ErrNoVerdict: no processor has answered in time.
	ErrNoVerdict = errors.New("no processor has answered in time")
	// ErrMoved: the links belong to another process now. Ask there.
	ErrMoved = errors.New("the processors' links were handed over")
)

// question is an AUTHORIZE without a VERDICT.
type question struct {
	identity    string
	subprotocol string
	body        []byte
	deadline    time.Time
	link        *Link  // that it was sent to; nil: no link can answer it
	token       uint64 // of the AUTHORIZE, counted by link
	verdict     func(unixipc.VerdictBody, error)
}

// Authorize asks a processor whether a charger may connect. Of the links that
// answer such questions and take the subprotocol, it asks the one that ranks
// first for the charger. If there is none, the question waits for one. If the
// link ends, another one is asked.
//
// verdict is called once, during a later call of the relay: with the answer of
// the processor, with ErrNoVerdict at the deadline, or with ErrMoved.
//
// Questions are not handed over to another process. The caller asks there again.
func (r *Relay) Authorize(body unixipc.AuthorizeBody, subprotocol string, deadline time.Time, verdict func(unixipc.VerdictBody, error)) {
	q := &question{identity: body.Identity, subprotocol: subprotocol, deadline: deadline, verdict: verdict}
	if c := r.chargers[body.Identity]; c != nil {
		body.Note = r.notes[c]
	}
	q.body, _ = json.Marshal(body) // plain fields: cannot fail
	if len(q.body) > unixipc.MaxControl {
		q.deadline = r.now // too long for a frame, so that no link gets it
	}
	r.questions = append(r.questions, q)
	r.ask(q)
}

// ask sends a question to a link, if there is one for it.
func (r *Relay) ask(q *question) {
	var most uint64
	q.link = nil
	hash := hashString(q.identity)
	for _, l := range r.links {
		if weight := mix(hash ^ l.hash); l.authorizes && l.takes(q.subprotocol) && (q.link == nil || weight > most) {
			q.link, most = l, weight
		}
	}
	if q.link == nil || !q.deadline.After(r.now) {
		return
	}
	q.link.tokens++
	q.token = q.link.tokens
	r.write(q.link, unixipc.Frame{Type: unixipc.Authorize, Ref: q.token, Payload: q.body})
}

// verdict takes a VERDICT. It ignores one without a question: the deadline may
// have passed, or the question may have been asked by the former process.
func (r *Relay) verdict(l *Link, f unixipc.Frame) error {
	if !l.authorizes && l.tokens == 0 {
		return fmt.Errorf("VERDICT of a processor that was never asked")
	}
	var body unixipc.VerdictBody
	if err := decode(f, &body); err != nil {
		return err
	}
	if n := len(body.Note); n > unixipc.MaxNote {
		return fmt.Errorf("VERDICT with a note of %d bytes; at most %d", n, unixipc.MaxNote)
	}
	i := slices.IndexFunc(r.questions, func(q *question) bool { return q.link == l && q.token == f.Ref })
	if i < 0 {
		return nil
	}
	q := r.questions[i]
	r.questions = slices.Delete(r.questions, i, i+1)
	q.verdict(body, nil)
	return nil
}

// askAgain sends the questions of l to other links. l is nil for the questions
// that wait for a link.
func (r *Relay) askAgain(l *Link) {
	for _, q := range r.questions {
		if q.link == l {
			r.ask(q)
		}
	}
}

// endQuestions ends the questions whose deadline has passed.
func (r *Relay) endQuestions() {
	if len(r.questions) == 0 {
		return
	}
	r.dismiss(ErrNoVerdict, func(q *question) bool { return !q.deadline.After(r.now) })
}

// MoveQuestions ends all questions with ErrMoved.
func (r *Relay) MoveQuestions() { r.dismiss(ErrMoved, func(*question) bool { return true }) }

// dismiss ends the questions that which selects, without a verdict.
func (r *Relay) dismiss(why error, which func(*question) bool) {
	questions := r.questions
	r.questions = nil
	for _, q := range questions {
		if which(q) {
			q.verdict(unixipc.VerdictBody{}, why)
		} else {
			r.questions = append(r.questions, q)
		}
	}
}

// hasQuestion reports whether l has a question to answer.
func (r *Relay) hasQuestion(l *Link) bool {
	return slices.ContainsFunc(r.questions, func(q *question) bool { return q.link == l })
}
