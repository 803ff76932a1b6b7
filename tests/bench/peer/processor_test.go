package peer_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"holdfast/proc/proctest"
	"holdfast/tests/bench/peer"
)

func TestProcessorsEcho(t *testing.T) {
	for name, run := range map[string]func(ctx context.Context, socket string) error{
		"bare": func(_ context.Context, socket string) error {
			return new(peer.Processor).Run(socket, 5*time.Second, func() {})
		},
		"sdk": peer.SDK,
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			gw := proctest.Config{Loops: 2}.New(t)
			ended := make(chan error, 1)
			go func() { ended <- run(ctx, gw.Socket()) }()
			if _, err := gw.WaitLinks(ctx, 2); err != nil {
				t.Fatal(err)
			}
			// Sizes below and above what the processor reads at once.
			for i, size := range []int{200, 1, 70_000, 600_000} {
				charger := fmt.Sprintf("CP%d", i)
				if _, err := gw.Open(charger, "ocpp1.6").Reply(ctx); err != nil {
					t.Fatal(err)
				}
				sent := strings.Repeat("x", size)
				got, err := gw.Call(ctx, charger, []byte(sent))
				if err != nil {
					t.Fatal(err)
				}
				if string(got) != sent {
					t.Fatalf("%d bytes came back as %d", size, len(got))
				}
			}
			cancel()
			gw.Stop()
			<-ended
		})
	}
}
