package record

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"runtime"
	"testing"
	"time"
	"unsafe"
)

func benchSuites(b *testing.B, f func(b *testing.B, s *suite)) {
	for i := range suites {
		s := &suites[i]
		if s.is13() || s.id == tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 {
			b.Run(s.String(), func(b *testing.B) { f(b, s) })
		}
	}
}

var benchSizes = []int{200, MaxPlaintext}

// BenchmarkSeal and BenchmarkOpen are one record, warm, beside what crypto/tls
// needs for it (BenchmarkCryptoTLS), both of its sides.
func BenchmarkSeal(b *testing.B) {
	benchSuites(b, func(b *testing.B, s *suite) {
		for _, n := range benchSizes {
			b.Run(fmt.Sprint(n), func(b *testing.B) {
				near, _ := layers(s)
				data, buf := make([]byte, n), make([]byte, 0, n+100)
				b.SetBytes(int64(n))
				b.ReportAllocs()
				for b.Loop() {
					buf = near.Seal(buf[:0], data)
				}
			})
		}
	})
}

// BenchmarkSealAndOpen is a record through both ends.
func BenchmarkSealAndOpen(b *testing.B) {
	benchSuites(b, func(b *testing.B, s *suite) {
		for _, n := range benchSizes {
			b.Run(fmt.Sprint(n), func(b *testing.B) {
				near, far := layers(s)
				data, buf := make([]byte, n), make([]byte, 0, n+100)
				b.SetBytes(int64(n))
				b.ReportAllocs()
				for b.Loop() {
					buf = near.Seal(buf[:0], data)
					if got, err := far.Open(buf); err != nil || len(got) != n {
						b.Fatal(err)
					}
				}
			})
		}
	})
}

// memory is one direction of a connection between ends in the same goroutine.
type memory struct {
	buf []byte
	off int
}

type memoryConn struct {
	net.Conn
	in, out *memory
}

func (c memoryConn) Read(b []byte) (int, error) {
	if c.in.off == len(c.in.buf) {
		return 0, io.EOF
	}
	n := copy(b, c.in.buf[c.in.off:])
	c.in.off += n
	return n, nil
}

func (c memoryConn) Write(b []byte) (int, error) {
	if c.out.off == len(c.out.buf) {
		c.out.buf, c.out.off = c.out.buf[:0], 0
	}
	c.out.buf = append(c.out.buf, b...)
	return len(b), nil
}

// switchConn is a net.Conn that becomes another one.
type switchConn struct{ net.Conn }

func BenchmarkCryptoTLS(b *testing.B) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, n := range benchSizes {
			b.Run(fmt.Sprintf("%s/%d", tls.VersionName(version), n), func(b *testing.B) {
				one, other := net.Pipe()
				sc, cc := &switchConn{one}, &switchConn{other}
				config := serverConfig()
				config.SessionTicketsDisabled = true
				config.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
				server := tls.Server(sc, config)
				client := tls.Client(cc, &tls.Config{InsecureSkipVerify: true, MaxVersion: version, MinVersion: version})
				done := make(chan error, 1)
				go func() { done <- server.Handshake() }()
				if err := client.Handshake(); err != nil {
					b.Fatal(err)
				}
				if err := <-done; err != nil {
					b.Fatal(err)
				}
				var there, back memory
				sc.Conn, cc.Conn = memoryConn{one, &back, &there}, memoryConn{other, &there, &back}
				data, got := make([]byte, n), make([]byte, n)
				b.SetBytes(int64(n))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := server.Write(data); err != nil {
						b.Fatal(err)
					}
					if _, err := io.ReadFull(client, got); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkWarm is what a record costs a cold layer, each way, beyond the record:
// its keys are made from the secrets.
func BenchmarkWarm(b *testing.B) {
	benchSuites(b, func(b *testing.B, s *suite) {
		near, _ := layers(s)
		b.ReportAllocs()
		for b.Loop() {
			near.dropKeys()
			near.read.expand(s)
			near.write.expand(s)
		}
	})
}

// BenchmarkTakeOver is a whole handshake and the take-over.
func BenchmarkTakeOver(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	config := serverConfig()
	for b.Loop() {
		nc, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		below, err := l.Accept()
		if err != nil {
			b.Fatal(err)
		}
		_ = below.SetDeadline(time.Now().Add(time.Minute))
		go func() { _ = tls.Client(nc, &tls.Config{InsecureSkipVerify: true}).Handshake() }()
		if _, _, err := Server(below, config); err != nil {
			b.Fatal(err)
		}
		_ = below.Close()
		_ = nc.Close()
	}
}

// What a layer costs: idle, the struct and nothing else, which fits the size class
// of 288 bytes; warm, its keys.
func TestLayerSize(t *testing.T) {
	if size := unsafe.Sizeof(Layer{}); size > 288 {
		t.Errorf("a Layer has %d bytes", size)
	}
	const n = 2000
	all := make([]*Layer, n)
	bytesOf := func(f func()) uint64 {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		f()
		runtime.GC()
		runtime.ReadMemStats(&after)
		return (after.HeapAlloc - before.HeapAlloc) / n
	}
	for _, s := range []*suite{&suites[0], &suites[1], &suites[2], &suites[3]} {
		near, _ := layers(s)
		state := near.AppendState(nil)
		idle := bytesOf(func() {
			for i := range all {
				all[i], _ = ParseState(state)
			}
		})
		warm := bytesOf(func() {
			for _, l := range all {
				l.read.expand(s)
				l.write.expand(s)
			}
		})
		t.Logf("%v: %d bytes idle, %d more when warm", s, idle, warm)
		if idle > 300 {
			t.Errorf("%v: an idle layer has %d bytes", s, idle)
		}
		clear(all)
	}
}
