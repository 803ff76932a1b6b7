package relay

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"holdfast/unixipc"
)

// Why there is no verdict.
var (
	// ErrNoVerdict: no processor has answered in time.
	ErrNoVerdict = errors.New("no processor has answered in time")
	// ErrMoved: the links are another process's now; ask there.
	ErrMoved = errors.New("the processors' links were handed over")
)

// question is an AUTHORIZE without a VERDICT.
type question struct {
	identity    string
	subprotocol string
	body        []byte
	deadline    time.Time
	link        *Link  // that was asked; nil: there is none to ask
	token       uint64 // among those of the link
	verdict     func(unixipc.VerdictBody, error)
}

// Authorize asks a processor whether a charger may connect: that link, among
// those that answer such questions and take the subprotocol, which the charger
// would belong to. Without one, it waits for one; if the link ends, another is
// asked. verdict is called once, from a later call of the relay's: with the
// processor's word, or ErrNoVerdict at the deadline, or ErrMoved.
//
// Questions are not handed over; whoever waits asks again.
func (r *Relay) Authorize(body unixipc.AuthorizeBody, subprotocol string, deadline time.Time, verdict func(unixipc.VerdictBody, error)) {
	q := &question{identity: body.Identity, subprotocol: subprotocol, deadline: deadline, verdict: verdict}
	q.body, _ = json.Marshal(body) // plain fields: cannot fail
	if len(q.body) > unixipc.MaxControl {
		q.deadline = r.now // longer than a frame of JSON may be: for nobody to answer
	}
	r.questions = append(r.questions, q)
	r.ask(q)
}

// ask puts a question to a link, if there is one for it.
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

// verdict takes a VERDICT. One that nobody waits for may have crossed with the
// deadline, or with an upgrade.
func (r *Relay) verdict(l *Link, f unixipc.Frame) error {
	if !l.authorizes && l.tokens == 0 {
		return fmt.Errorf("VERDICT of a processor that was never asked")
	}
	var body unixipc.VerdictBody
	if err := decode(f, &body); err != nil {
		return err
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

// askAgain puts the questions of l, or those that wait for a link, to others.
func (r *Relay) askAgain(l *Link) {
	for _, q := range r.questions {
		if q.link == l {
			r.ask(q)
		}
	}
}

// endQuestions lets go of those whose time is over.
func (r *Relay) endQuestions() {
	if len(r.questions) == 0 {
		return
	}
	r.dismiss(ErrNoVerdict, func(q *question) bool { return !q.deadline.After(r.now) })
}

// MoveQuestions tells those who wait that the links are another process's.
func (r *Relay) MoveQuestions() { r.dismiss(ErrMoved, func(*question) bool { return true }) }

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

// hasQuestion tells whether l has a question to answer.
func (r *Relay) hasQuestion(l *Link) bool {
	return slices.ContainsFunc(r.questions, func(q *question) bool { return q.link == l })
}
