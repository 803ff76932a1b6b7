package bridge

import "time"

// A leftover is what a session knew of a message that it has given back, and that is not
// settled. With a second bridge the gateway moves the charger there each time, and back:
// the session ends, and the count of attempts, the growing pause and an answer that came
// late must not end with it.
type leftover struct {
	nacks  int
	late   answer
	mute   silence
	boot   []byte
	expiry *time.Timer
}

// keptFor is how long that is kept for a charger that does not come back.
const keptFor = 10 * time.Minute

// keep leaves what the session knows, if it is any.
func (s *session) keep() {
	if s.nacks == 0 && s.mute == (silence{}) {
		return
	}
	l := &leftover{nacks: s.nacks, late: s.late, mute: s.mute, boot: s.boot}
	b, identity := s.b, s.identity
	b.mu.Lock()
	defer b.mu.Unlock()
	if former := b.left[identity]; former != nil {
		former.expiry.Stop()
	}
	b.left[identity] = l
	l.expiry = time.AfterFunc(keptFor, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.left[identity] == l {
			delete(b.left, identity)
		}
	})
}

// remember takes what a former session of the charger has left.
func (s *session) remember() {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	if l := s.b.left[s.identity]; l != nil {
		l.expiry.Stop()
		delete(s.b.left, s.identity)
		s.nacks, s.late, s.mute, s.boot = l.nacks, l.late, l.mute, l.boot
	}
}
