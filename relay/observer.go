package relay

import (
	"time"

	"holdfast/unixipc"
)

// An Observer counts what happens to deliveries.
type Observer interface {
	// Delivered is told of each delivery to a processor; again says that there
	// was one of the same message before.
	Delivered(again bool)
	// Acknowledged is told how long a processor took for a delivery.
	Acknowledged(after time.Duration)
	// GivenBack is told of each NACK.
	GivenBack()
	// Ordered is told of each frame of an operator's link, before it is obeyed.
	Ordered(l *Link, f unixipc.Frame)
}

// unobserved counts nothing.
type unobserved struct{}

func (unobserved) Delivered(bool)               {}
func (unobserved) Acknowledged(time.Duration)   {}
func (unobserved) GivenBack()                   {}
func (unobserved) Ordered(*Link, unixipc.Frame) {}
