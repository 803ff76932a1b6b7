package journal

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// The garbage collector does not know of addresses in the memory: of a buffer that was
// written and is gone it must not find one there.
func TestGarbageCollector(t *testing.T) {
	j := newJournal(t)
	ours, theirs := pair(t)
	s := j.Add()
	j.Put(s, make([]byte, 1<<20))
	j.Commit()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 60 {
			runtime.GC()
		}
	}()
	b := make([]byte, 1<<20)
	for i := 0; ; i++ {
		select {
		case <-done:
			return
		default:
		}
		_, _ = j.Write(s, ours, make([]byte, 1+i%(1<<19)))
		_, _ = unix.Read(theirs, b)
	}
}
