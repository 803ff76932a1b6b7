package bridge

import "time"

// moveWithin is how long what is under way may take before a charger moves.
const moveWithin = 10 * time.Second

// reroute moves the charger if its route has changed: now, or once nothing is under way.
func (s *session) reroute() {
	if s.ch == nil || s.ended {
		return
	}
	s.mirror()
	if t := s.place(); sameTarget(t, s.target) {
		stop(&s.moving)
		if d := s.waiting; d != nil && !d.sent && s.up != nil {
			s.forward() // it waited for the move
		}
		return
	}
	if s.moving == nil {
		s.moving = s.after(moveWithin, s.move)
	}
	s.moveIfIdle()
}

func (s *session) moveIfIdle() {
	if s.moving != nil && len(s.calls) == 0 && (s.waiting == nil || !s.waiting.sent) {
		s.move()
	}
}

func (s *session) move() {
	t := s.place()
	s.b.cfg.Metrics.Moves.Inc()
	s.b.cfg.Logger.Info("the charger's route has changed", "charger", s.identity, "from", s.target.URL, "to", t.URL)
	s.part("the charger's route has changed")
	s.target, s.failed, s.why = t, 0, "the route has changed"
	s.again()
}
