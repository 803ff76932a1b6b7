package harness

import (
	"context"
	"errors"
)

// StartProcessor starts cmd/processor and waits until it joined the gateway.
func StartProcessor(ctx context.Context, binary, socket, name string, args ...string) (*Process, error) {
	p, err := Start(name, binary, append([]string{"-socket", socket, "-name", name, "-log-format", "json"}, args...)...)
	if err != nil {
		return nil, err
	}
	return joined(ctx, p, func(l Line) bool { return l.Msg() == "joined" })
}

// StartCheckproc starts tests/cmd/checkproc, which notes what it gets in a ledger,
// and waits until it joined the gateway.
func StartCheckproc(ctx context.Context, binary, socket, name, ledger string, args ...string) (*Process, error) {
	p, err := Start(name, binary, append([]string{"-socket", socket, "-name", name, "-ledger", ledger}, args...)...)
	if err != nil {
		return nil, err
	}
	return joined(ctx, p, func(l Line) bool { return l.Text == "ready" })
}

func joined(ctx context.Context, p *Process, match func(Line) bool) (*Process, error) {
	if _, err := p.WaitLog(ctx, "that it joined", match); err != nil {
		return nil, errors.Join(err, p.Kill())
	}
	return p, nil
}
