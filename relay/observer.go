package relay

import "time"

// An Observer counts what happens to deliveries.
type Observer interface {
	// Delivered is told of each delivery to a processor; again says that there
	// was one of the same message before.
	Delivered(again bool)
	// Acknowledged is told how long a processor took for a delivery.
	Acknowledged(after time.Duration)
	// GivenBack is told of each NACK.
	GivenBack()
}

// unobserved counts nothing.
type unobserved struct{}

func (unobserved) Delivered(bool)             {}
func (unobserved) Acknowledged(time.Duration) {}
func (unobserved) GivenBack()                 {}
