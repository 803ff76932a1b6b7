package relay

import (
	"slices"

	"holdfast/unixipc"
)

// What a link has to write
//
// Link.out holds frames from the first one that is not written completely. What is
// written is cut off at the boundaries of frames, so when a link ends the answers
// can be told apart that never went out (unwrittenAnswers).

const (
	// maxUnwritten is how many bytes may wait to be written to a link before
	// nothing more is delivered to it.
	maxUnwritten = 1 << 20
	// maxForwarded is how many bytes of a link's orders may wait for other loops
	// before it is not read.
	maxForwarded = 1 << 20
)

// Unwritten returns the bytes to be written to the link. Report what was written
// with Relay.Wrote.
func (l *Link) Unwritten() []byte { return l.out[l.off:] }

// Congested reports whether too much waits to be written. Nothing more is delivered
// then.
func (l *Link) Congested() bool { return len(l.out)-l.off > maxUnwritten }

// Ahead reports whether too many orders of the link wait for other loops. The gateway
// must not read from it then, until the next LinkReady.
func (l *Link) Ahead() bool { return l.forwarded > maxForwarded }

// write appends a frame to what is to be written.
func (r *Relay) write(l *Link, f unixipc.Frame) {
	if l.ended != "" {
		return
	}
	l.out = f.Append(l.out)
	r.wake(l)
}

// wake calls LinkReady, unless it was called since the last Wrote.
func (r *Relay) wake(l *Link) {
	if !l.notified {
		l.notified = true
		r.gateway.LinkReady(l)
	}
}

// Wrote records that n bytes of Unwritten were written. LinkReady is called again
// for further bytes.
func (r *Relay) Wrote(l *Link, n int) {
	l.notified = false
	congested := l.Congested()
	l.off += n
	switch {
	case l.off == len(l.out):
		l.off, l.cut = 0, false
		if l.out = l.out[:0]; cap(l.out) > maxUnwritten {
			l.out = nil
		}
	case l.off > len(l.out)/2 && l.off >= compactAt:
		l.compact()
	}
	if congested && !l.Congested() {
		r.reportMissed(l)
		r.pump(l)
	}
}

// compact cuts off the frames that are written, if they are most of out.
func (l *Link) compact() {
	end := l.off
	if !l.cut {
		end = l.boundary()
	}
	if end > len(l.out)/2 {
		l.out = l.out[:copy(l.out, l.out[end:])]
		l.off -= end
	}
}

// boundary returns where the first frame of out begins that is not written
// completely.
func (l *Link) boundary() (at int) {
	for at < l.off {
		_, n, err := unixipc.Parse(l.out[at:], maxData)
		if err != nil || n == 0 || at+n > l.off {
			break
		}
		at += n
	}
	return at
}

// unwrittenAnswers yields the answers of chargers that the asker on l never had, at
// the end of its link. Without the boundaries of frames there are none.
func (l *Link) unwrittenAnswers(yield func(identity string, flags unixipc.Flags, answer []byte)) {
	if l.cut {
		return
	}
	for rest := l.out[l.boundary():]; ; {
		f, n, err := unixipc.Parse(rest, maxData)
		if err != nil || n == 0 {
			return
		}
		rest = rest[n:]
		if f.Type != unixipc.Result || f.Flags&unixipc.Answered == 0 {
			continue
		}
		if _, answer, ok := unixipc.ParseAnswer(f.Payload); ok {
			yield(string(f.Key), f.Flags, slices.Clone(answer))
		}
	}
}
