package load

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// session is a TLS 1.3 connection of a charger: crypto/tls does its handshake on
// the blocking socket, and this seals and opens records from there on, in the one
// loop of the fleet. The suite is TLS_AES_128_GCM_SHA256, which Go and nginx choose
// where there is hardware for it.
type session struct {
	in, out direction
	part    []byte // of a record
}

type direction struct {
	aead  cipher.AEAD
	iv    [12]byte
	nonce [12]byte
	seq   uint64
}

const (
	recordHeader = 5
	typeData     = 23
	typeMessage  = 22 // of the handshake
	newTicket    = 4
)

// startTLS does the handshake.
func startTLS(fd int) (*session, error) {
	logged := make(secrets)
	c := tls.Client(&socket{fd: fd}, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, KeyLogWriter: logged})
	if err := c.Handshake(); err != nil {
		return nil, err
	}
	if suite := c.ConnectionState().CipherSuite; suite != tls.TLS_AES_128_GCM_SHA256 {
		return nil, fmt.Errorf("the server chose %s", tls.CipherSuiteName(suite))
	}
	s := new(session)
	if err := s.in.use(logged["SERVER_TRAFFIC_SECRET_0"]); err != nil {
		return nil, err
	}
	return s, s.out.use(logged["CLIENT_TRAFFIC_SECRET_0"])
}

func (d *direction) use(secret []byte) error {
	expand := func(label string, n int) ([]byte, error) { // RFC 8446 section 7.1
		label = "tls13 " + label
		return hkdf.Expand(sha256.New, secret, string([]byte{0, byte(n), byte(len(label))})+label+"\x00", n)
	}
	key, err := expand("key", 16)
	if err != nil {
		return err
	}
	iv, err := expand("iv", len(d.iv))
	if err != nil {
		return err
	}
	copy(d.iv[:], iv)
	block, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	d.aead, err = cipher.NewGCM(block)
	return err
}

func (d *direction) next() []byte {
	d.nonce = d.iv
	for i := range 8 {
		d.nonce[4+i] ^= byte(d.seq >> (56 - 8*i))
	}
	d.seq++
	return d.nonce[:]
}

// seal appends one record.
func (s *session) seal(dst, data []byte) []byte {
	n := len(data) + 1 + s.out.aead.Overhead()
	dst = append(dst, typeData, 3, 3, byte(n>>8), byte(n))
	start := len(dst)
	dst = append(append(dst, data...), typeData)
	return s.out.aead.Seal(dst[:start], s.out.next(), dst[start:], dst[start-recordHeader:start])
}

// open appends what the next bytes of the stream hold to dst.
func (s *session) open(dst, b []byte) ([]byte, error) {
	if len(s.part) > 0 {
		s.part = append(s.part, b...)
		b = s.part
	}
	for len(b) >= recordHeader {
		n := recordHeader + int(binary.BigEndian.Uint16(b[3:]))
		if len(b) < n {
			break
		}
		plain, err := s.in.aead.Open(b[recordHeader:recordHeader], s.in.next(), b[recordHeader:n], b[:recordHeader])
		if err != nil || len(plain) == 0 {
			return dst, errors.New("a record does not open")
		}
		switch typ, data := plain[len(plain)-1], plain[:len(plain)-1]; {
		case typ == typeData:
			dst = append(dst, data...)
		case typ == typeMessage && data[0] == newTicket:
		default:
			return dst, fmt.Errorf("record of type %d: %x", typ, data)
		}
		b = b[n:]
	}
	s.part = append(s.part[:0], b...)
	return dst, nil
}

// secrets takes what crypto/tls writes to KeyLogWriter, by label.
type secrets map[string][]byte

func (s secrets) Write(line []byte) (int, error) {
	f := strings.Fields(string(line))
	var b []byte
	_, err := fmt.Sscanf(f[2], "%x", &b)
	s[f[0]] = b
	return len(line), err
}

// socket is a blocking socket that hands up one record at a time, so that
// crypto/tls reads nothing beyond the handshake.
type socket struct {
	fd   int
	left int // of the record
}

func (s *socket) Read(b []byte) (int, error) {
	if s.left > 0 {
		n, err := readSome(s.fd, b[:min(len(b), s.left)])
		s.left -= n
		return n, err
	}
	for have := 0; have < recordHeader; {
		n, err := readSome(s.fd, b[have:recordHeader])
		if err != nil {
			return 0, err
		}
		have += n
	}
	s.left = int(binary.BigEndian.Uint16(b[3:]))
	return recordHeader, nil
}

func readSome(fd int, b []byte) (int, error) {
	for {
		n, err := unix.Read(fd, b)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.ErrUnexpectedEOF
		default:
			return n, nil
		}
	}
}

func (s *socket) Write(b []byte) (int, error) {
	for done := 0; done < len(b); {
		n, err := unix.Write(s.fd, b[done:])
		if err != nil && err != unix.EINTR {
			return done, err
		}
		done += max(0, n)
	}
	return len(b), nil
}

// The rest of a net.Conn: prepare has set time-outs, and dial closes.
func (s *socket) Close() error                     { return nil }
func (s *socket) LocalAddr() net.Addr              { return nil }
func (s *socket) RemoteAddr() net.Addr             { return nil }
func (s *socket) SetDeadline(time.Time) error      { return nil }
func (s *socket) SetReadDeadline(time.Time) error  { return nil }
func (s *socket) SetWriteDeadline(time.Time) error { return nil }
