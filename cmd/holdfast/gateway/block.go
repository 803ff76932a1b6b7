package gateway

import (
	"context"
	"fmt"
	"time"

	"holdfast/cmd/holdfast/admin"
	"holdfast/cmd/holdfast/credentials"
	"holdfast/cmd/holdfast/shard"
	"holdfast/conn"
)

// Block implements admin.Gateway.
func (g *gateway) Block(ctx context.Context, target string, until time.Time, reason string) (closed int, err error) {
	blocks, err := g.blocks()
	if err != nil {
		return 0, err
	}
	block, err := credentials.ParseTarget(target)
	if err != nil {
		return 0, fmt.Errorf("%.100q: neither an address, nor a range of addresses, nor an identity: %w", target, err)
	}
	block.Until, block.Reason = until, reason
	if err := blocks.Add(block); err != nil {
		return 0, err
	}
	// Whoever comes now is refused; those who are in go.
	return g.onLinks(ctx, func(s *shard.Shard) int {
		return s.CloseIf(func(c *conn.Conn) bool {
			if block.Identity != "" {
				return c.Identity == block.Identity
			}
			return block.Prefix.Contains(c.Remote.Addr().Unmap())
		}, conn.ReasonBlocked.Close())
	})
}

// Unblock implements admin.Gateway.
func (g *gateway) Unblock(target string) error {
	blocks, err := g.blocks()
	if err != nil {
		return err
	}
	block, err := credentials.ParseTarget(target)
	if err != nil {
		return err
	}
	removed, err := blocks.Remove(block.Target())
	if err == nil && !removed {
		err = fmt.Errorf("%s is not blocked", target)
	}
	return err
}

// Blocks implements admin.Gateway.
func (g *gateway) Blocks() ([]admin.BlockStatus, error) {
	blocks, err := g.blocks()
	if err != nil {
		return nil, err
	}
	all := []admin.BlockStatus{}
	for _, b := range blocks.All() {
		status := admin.BlockStatus{Target: b.Target(), Address: b.Identity == "", Reason: b.Reason}
		if !b.Until.IsZero() {
			status.Until = &b.Until
		}
		all = append(all, status)
	}
	return all, nil
}

func (g *gateway) blocks() (*credentials.Blocks, error) {
	if b := g.handshaker.files.Blocks; b != nil {
		return b, nil
	}
	return nil, admin.ErrNoBlocks
}
