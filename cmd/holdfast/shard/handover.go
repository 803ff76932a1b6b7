package shard

import (
	"holdfast/conn"
	"holdfast/unixipc"
)

// Late takes what becomes ready for a shard after the shard was handed over:
// handshakes and HELLOs that were under way at the freeze. It owns fd.
type Late interface {
	Open(s *Shard, fd int, state conn.State, early []byte)
	Join(s *Shard, fd int, hello unixipc.HelloBody, peer unixipc.Peer, operator bool, rest []byte)
}

// HandOver makes the shard another process's: its questions to processors are
// asked there, and late gets whatever becomes ready. The loop must be frozen.
func (s *Shard) HandOver(late Late) {
	s.late = late
	s.Relay.MoveQuestions()
}

// FlushEnded writes to each link that has ended why it did, and closes it. An
// upgrade calls it before it exports: the other links then have more to deliver.
func (s *Shard) FlushEnded() {
	for _, l := range s.Links {
		if _, ended := l.Relay.Ended(); ended {
			l.flush()
		}
	}
}

// AdoptLink stages a link that another process has exported. The shard owns fd
// unless there is an error. The loop must not run yet.
func (s *Shard) AdoptLink(fd int, state []byte) (*Link, error) {
	adopted, err := s.Relay.AdoptLink(state)
	if err != nil {
		return nil, err
	}
	l := &Link{shard: s, Relay: adopted}
	if l.source, err = s.Loop.Watch(fd, l.ready); err != nil {
		s.Relay.UnadoptLink(adopted)
		return nil, err
	}
	s.Links[adopted] = l
	return l, nil
}

// UnadoptLink forgets a staged link. Its socket is closed, but its connection
// stays with the process that exported it.
func (s *Shard) UnadoptLink(l *Link) {
	s.Relay.UnadoptLink(l.Relay)
	delete(s.Links, l.Relay)
	l.source.Release()
}
