package proc_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"testing"

	"holdfast/proc"
	"holdfast/unixipc"
)

// BenchmarkRoundTrip is messages through a processor that only answers, with so
// many chargers waiting for a reply at any time. The gateway's side is as bare
// as it can be: one read, one write. "acks/read" says how well the SDK batches.
func BenchmarkRoundTrip(b *testing.B) {
	for _, inFlight := range []int{1, 16, 256} {
		b.Run(fmt.Sprint(inFlight), func(b *testing.B) { roundTrips(b, inFlight) })
	}
}

func roundTrips(b *testing.B, inFlight int) {
	socket := filepath.Join(b.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	reply := make([]byte, 100)
	c := proc.Config{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
	go func() {
		done <- c.Run(ctx, socket, func(context.Context, *proc.Charger, proc.Message) ([]byte, error) { return reply, nil })
	}()
	conn, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	defer func() { cancel(); conn.Close(); <-done }()
	in, out := make([]byte, 1<<20), welcome(1).Append(nil)
	if _, err := conn.Read(in); err != nil { // HELLO
		b.Fatal(err)
	}
	message := make([]byte, 100)
	put := func(key []byte, ref uint64) {
		out = unixipc.Frame{Type: unixipc.Message, Ref: ref, Key: key, Payload: message}.Append(out)
	}

	b.ReportAllocs()
	b.ResetTimer()
	sent, acked, reads, n := 0, 0, 0, 0
	for ; sent < min(inFlight, b.N); sent++ {
		put(fmt.Append(nil, "CP", sent), 1)
	}
	for acked < b.N {
		if _, err := conn.Write(out); err != nil {
			b.Fatal(err)
		}
		out = out[:0]
		m, err := conn.Read(in[n:])
		if err != nil {
			b.Fatal(err)
		}
		reads++
		n += m
		rest := in[:n]
		for {
			f, size, err := unixipc.Parse(rest, 1<<20)
			if err != nil {
				b.Fatal(err)
			}
			if size == 0 {
				break
			}
			rest = rest[size:]
			acked++
			if sent < b.N {
				put(f.Key, f.Ref+1)
				sent++
			}
		}
		n = copy(in, rest)
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	b.ReportMetric(float64(acked)/float64(reads), "acks/read")
}
