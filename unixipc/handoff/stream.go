package handoff

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"holdfast/unixipc"
)

// stream reads and writes the frames of one end.
type stream struct {
	conn *net.UnixConn
	in   []byte // received, not parsed
	fds  []int  // received, not taken
	buf  []byte
}

func (s *stream) send(t unixipc.Type, ref uint64, payload []byte, fds []int) error {
	b := unixipc.Frame{Type: t, Ref: ref, Payload: payload}.Append(nil)
	if err := unixipc.SendFDs(s.conn, b, fds); err != nil {
		return fmt.Errorf("send %s: %w", frameNames[t], err)
	}
	return nil
}

// receive returns the next frame, whose payload is good until the next call.
func (s *stream) receive() (unixipc.Frame, error) {
	for {
		f, ok, err := s.buffered()
		if ok || err != nil {
			return f, err
		}
		if err := s.fill(); err != nil {
			return f, err
		}
	}
}

// buffered returns a frame that has been received already.
func (s *stream) buffered() (f unixipc.Frame, ok bool, err error) {
	f, n, err := unixipc.Parse(s.in, maxState+itemHeader)
	if err != nil {
		return f, false, fmt.Errorf("garbage on the hand-over channel: %w", err)
	}
	if n == 0 {
		return f, false, nil
	}
	if frameNames[f.Type] == "" {
		return f, false, fmt.Errorf("garbage on the hand-over channel: frame of %v", f.Type)
	}
	s.in = s.in[n:]
	return f, true, nil
}

func (s *stream) fill() error {
	if s.buf == nil {
		s.buf = make([]byte, 256<<10)
	}
	n, fds, err := unixipc.ReceiveFDs(s.conn, s.buf, s.fds)
	s.fds = fds
	switch {
	case ended(err):
		return errEnd
	case err != nil:
		return err
	}
	s.keep(s.buf[:n])
	return nil
}

// fillNow takes what is there already, and tells whether there was anything. No
// time-out can come between, nor does it wait for more.
func (s *stream) fillNow() (bool, error) {
	if err := s.within(0); err != nil {
		return false, err
	}
	raw, err := s.conn.SyscallConn()
	if err != nil {
		return false, err
	}
	var n int
	var readErr error
	b := make([]byte, 4<<10)
	err = raw.Read(func(fd uintptr) bool {
		n, readErr = syscall.Read(int(fd), b)
		return true
	})
	if readErr == syscall.EAGAIN || ended(readErr) {
		return false, nil
	}
	if err = errors.Join(err, readErr); err != nil {
		return false, err
	}
	s.keep(b[:n])
	return n > 0, nil
}

// ended tells, of an error of reading, that the other end is closed, and all that
// it had sent is read. It is a reset when that end had not read everything.
func ended(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) }

func (s *stream) keep(b []byte) {
	if len(s.in) == 0 {
		s.in = nil // frames still point there
	}
	s.in = append(s.in, b...)
}

var errEnd = fmt.Errorf("the other process closed the hand-over channel")

// expect receives a frame of one type. REFUSED comes back as an error.
func (s *stream) expect(t unixipc.Type) (unixipc.Frame, error) {
	f, err := s.receive()
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return f, fmt.Errorf("no %s from the new process within the time-out", frameNames[t])
	case err != nil:
		return f, fmt.Errorf("wait for %s: %w", frameNames[t], err)
	case f.Type == frameRefused:
		return f, &RefusedError{Why: string(f.Payload)}
	case f.Type != t:
		return f, fmt.Errorf("wait for %s: got %s", frameNames[t], frameNames[f.Type])
	}
	return f, nil
}

// takeFD returns the next of the file descriptors received.
func (s *stream) takeFD() (int, error) {
	if len(s.fds) == 0 {
		return -1, fmt.Errorf("a file descriptor is missing")
	}
	fd := s.fds[0]
	s.fds = s.fds[1:]
	return fd, nil
}

// close closes the channel, and file descriptors that nobody has taken.
func (s *stream) close() {
	for _, fd := range s.fds {
		_ = syscall.Close(fd)
	}
	s.fds = nil
	_ = s.conn.Close()
}

// within limits everything on the channel to d from now; 0: no limit.
func (s *stream) within(d time.Duration) error {
	if d == 0 {
		return s.conn.SetDeadline(time.Time{})
	}
	return s.conn.SetDeadline(time.Now().Add(d))
}

// RefusedError is New's reason for not taking over.
type RefusedError struct{ Why string }

func (e *RefusedError) Error() string { return "the new process refused: " + e.Why }
