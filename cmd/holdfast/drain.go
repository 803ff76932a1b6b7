package main

// drain drains the links of a processor, and returns how many there are; -1
// when they are another process's now.
func (w *world) drain(processor string) (n int) {
	if w.late != nil {
		return -1
	}
	w.relay.SetNow(w.loop.Now())
	for l := range w.links {
		if l.Name() == processor {
			w.relay.Drain(l)
			n++
		}
	}
	return n
}
