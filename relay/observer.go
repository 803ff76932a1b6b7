package relay

import (
	"time"

	"holdfast/unixipc"
)

// An Observer counts what happens to deliveries, and reports operators' orders.
type Observer interface {
	// Delivered counts a delivery to a processor. again: the same message
	// was delivered before.
	Delivered(again bool)
	// Acknowledged counts an ACK, with the time since the delivery.
	Acknowledged(after time.Duration)
	// GivenBack counts a NACK.
	GivenBack()
	// Ordered reports a frame of an operator's link, before it is carried out.
	Ordered(l *Link, f unixipc.Frame)
}

// unobserved counts nothing.
type unobserved struct{}

func (unobserved) Delivered(bool)               {}
func (unobserved) Acknowledged(time.Duration)   {}
func (unobserved) GivenBack()                   {}
func (unobserved) Ordered(*Link, unixipc.Frame) {}
