package bridge

import "sync"

// A mailbox runs functions one at a time, in the order in which they came: what they use
// has one owner at any time, and needs no lock. It has no goroutine while nothing is to
// be done.
type mailbox struct {
	mu      sync.Mutex
	waiting []func()
	running bool
}

// post has f run soon. It never waits.
func (m *mailbox) post(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waiting = append(m.waiting, f)
	if !m.running {
		m.running = true
		go m.run()
	}
}

// do runs f, and returns when it has run: on this goroutine if nothing else runs. It
// must not be called by a function that the mailbox runs.
func (m *mailbox) do(f func()) {
	m.mu.Lock()
	if m.running {
		done := make(chan struct{})
		m.waiting = append(m.waiting, func() { f(); close(done) })
		m.mu.Unlock()
		<-done
		return
	}
	m.running = true
	m.mu.Unlock()
	f()
	m.mu.Lock()
	if len(m.waiting) == 0 {
		m.running = false
		m.mu.Unlock()
		return
	}
	m.mu.Unlock()
	go m.run()
}

func (m *mailbox) run() {
	for {
		m.mu.Lock()
		if len(m.waiting) == 0 {
			m.running, m.waiting = false, nil
			m.mu.Unlock()
			return
		}
		f := m.waiting[0]
		m.waiting = m.waiting[1:]
		m.mu.Unlock()
		f()
	}
}
