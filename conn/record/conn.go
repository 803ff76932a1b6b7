package record

import (
	"errors"
	"io"
	"net"
)

// A Conn is a net.Conn over a Layer, for the part of a connection's life that a
// goroutine still leads. It is used by one goroutine.
type Conn struct {
	net.Conn
	layer *Layer
	raw   []byte // received, and not opened yet
	data  []byte // opened, and not read yet
	err   error  // behind data
}

// Read reads data. After close_notify it returns io.EOF.
func (c *Conn) Read(b []byte) (int, error) {
	for len(c.data) == 0 {
		if c.err != nil {
			return 0, c.err
		}
		raw := c.raw
		c.raw = nil
		if len(raw) == 0 {
			raw = make([]byte, wireBuffer)
			n, err := c.Conn.Read(raw)
			if n == 0 {
				return 0, err
			}
			raw = raw[:n]
		}
		c.data, c.err = c.layer.Open(raw)
		if err := c.answer(); err != nil {
			return 0, err
		}
	}
	n := copy(b, c.data)
	c.data = c.data[n:]
	return n, nil
}

// answer sends what Open has given cause to.
func (c *Conn) answer() error {
	var out []byte
	if c.layer.OwesUpdate() {
		out = c.layer.AppendKeyUpdate(out)
	}
	if c.err != nil {
		out = c.layer.AppendAlert(out, c.err)
		if errors.Is(c.err, ErrCloseNotify) {
			c.err = io.EOF
		}
	}
	if len(out) == 0 {
		return nil
	}
	_, err := c.Conn.Write(out)
	return err
}

// Write writes data as records.
func (c *Conn) Write(b []byte) (int, error) {
	if c.layer.WriteClosed() {
		return 0, net.ErrClosed
	}
	if _, err := c.Conn.Write(c.layer.Seal(nil, b)); err != nil {
		return 0, err
	}
	return len(b), nil
}

// CloseWrite sends close_notify and the end of the stream.
func (c *Conn) CloseWrite() error {
	if out := c.layer.AppendCloseNotify(nil); len(out) > 0 {
		if _, err := c.Conn.Write(out); err != nil {
			return err
		}
	}
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Detach ends the Conn's use: the connection below, its layer, and data that
// was received and not read.
func (c *Conn) Detach() (net.Conn, *Layer, []byte, error) {
	data := c.data
	if len(c.raw) > 0 && c.err == nil { // it came with the handshake's last record
		var more []byte
		more, c.err = c.layer.Open(c.raw)
		data = append(data[:len(data):len(data)], more...)
		c.raw = nil
		if err := c.answer(); err != nil {
			return nil, nil, nil, err
		}
	}
	if c.err != nil {
		return nil, nil, nil, c.err
	}
	c.layer.dropKeys() // it may be idle from here on, and no Cache knows of it
	return c.Conn, c.layer, data, nil
}
