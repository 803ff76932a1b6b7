package shard

// HandOver makes the shard another process's: its questions to processors are
// asked there, and late gets whatever becomes ready. The loop must be frozen.
func (s *Shard) HandOver(late Late) {
	s.late = late
	s.Relay.MoveQuestions()
}

// FlushEnded writes to each link that has ended why it did, and closes it. An
// upgrade calls it before it exports: the other links then have more to deliver.
func (s *Shard) FlushEnded() { s.links.flushEnded() }

// AdoptLink stages a link that another process has exported. The shard owns fd
// unless there is an error. The loop must not run yet.
func (s *Shard) AdoptLink(fd int, state []byte) (*Link, error) { return s.links.adopt(fd, state) }

// UnadoptLink forgets a staged link. Its socket is closed, but its connection
// stays with the process that exported it.
func (s *Shard) UnadoptLink(l *Link) { s.links.unadopt(l) }
