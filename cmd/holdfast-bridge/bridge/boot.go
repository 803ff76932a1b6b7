package bridge

import (
	"encoding/json"
	"time"

	"holdfast/cmd/holdfast-bridge/upstream"
)

// Some central systems serve a connection only after a BootNotification, which a charger
// sends when it starts, and not when its bridge connects anew.

// bootTimeout is how long a central system may take to answer one.
const bootTimeout = 5 * time.Second

// bootAgain does what -boot-on-redial says.
func (s *session) bootAgain() {
	switch {
	case s.b.cfg.BootOnRedial == "replay" && s.boot != nil:
		id, up := newID(), s.up
		message, ok := withID(s.boot, id)
		if !ok {
			s.boot = nil
			return
		}
		if err := up.Write(message, false); err != nil {
			s.lost(up, upstream.Reason(err))
			return
		}
		s.booting = id
		time.AfterFunc(bootTimeout, func() {
			s.post(func() {
				if s.booting == id {
					s.booted()
				}
			})
		})
	case s.b.cfg.BootOnRedial == "replay" || s.b.cfg.BootOnRedial == "trigger":
		message, _ := json.Marshal([]any{ocppCall, newID(), "TriggerMessage", map[string]string{"requestedMessage": "BootNotification"}})
		s.ch.CallLater(message, 0, func(answer []byte, err error) {
			if err != nil {
				s.b.cfg.Logger.Info("a charger was not asked for a BootNotification", "charger", s.identity, "reason", err.Error())
			}
		})
	}
}

// booted goes on after a BootNotification that was replayed.
func (s *session) booted() {
	s.booting = ""
	if s.waiting != nil && !s.waiting.sent {
		s.forward()
	}
}
