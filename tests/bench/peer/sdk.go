package peer

import (
	"context"
	"log/slog"
	"os"

	"holdfast/proc"
)

// SDK is Processor as an author of processors would write it. It logs JSON to
// stderr, "joined" among it, and ends with ctx.
func SDK(ctx context.Context, path string) error {
	config := proc.Config{
		Name: "bench", Window: window,
		Logger: slog.New(slog.NewJSONHandler(os.Stderr, nil)),
	}
	return config.Run(ctx, path, func(_ context.Context, _ *proc.Charger, m proc.Message) ([]byte, error) {
		return m.Payload, nil
	})
}
