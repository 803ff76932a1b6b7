package record

// A Cache bounds how many layers keep their expanded keys: those that were used
// last. Making them again costs a few microseconds; keeping them for a
// connection that speaks once a minute costs more memory than all else of it.
type Cache struct {
	layers []*Layer // a clock: hand passes over those used since it came by last
	hand   int
}

// NewCache makes a cache of n > 0 layers.
func NewCache(n int) *Cache { return &Cache{layers: make([]*Layer, n)} }

// Used records that l has its keys expanded; another layer may lose its own.
func (c *Cache) Used(l *Layer) {
	l.recent = true
	if l.cached {
		return
	}
	for {
		at := c.hand
		c.hand = (c.hand + 1) % len(c.layers)
		old := c.layers[at]
		if old != nil && old.recent {
			old.recent = false
			continue
		}
		if old != nil {
			old.cached = false
			old.dropKeys()
		}
		c.layers[at] = l
		l.cached = true
		return
	}
}
