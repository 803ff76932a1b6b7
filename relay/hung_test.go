package relay

import (
	"strings"
	"testing"

	"holdfast/unixipc"
)

// A hung processor is told, and the log, which delivery it did not acknowledge: of which
// charger, and with which action.
func TestHungIsNamed(t *testing.T) {
	s := newStage(t, 1)
	l := s.join(0, unixipc.HelloBody{Name: "p"}, false)
	c := s.open(0)
	s.run()
	l.frames() // acknowledges the OPENED
	c.sends(`[2,"17","StopTransaction",{"transactionId":5}]`)
	s.advance(modelConfig.AckTimeout)
	want := "of charger " + c.identity + ", MESSAGE StopTransaction"
	if why, ended := l.Ended(); !ended || !strings.HasPrefix(why, "hung: ") || !strings.HasSuffix(why, want) {
		t.Errorf("ended %v: %q, want …%s", ended, why, want)
	}
}
