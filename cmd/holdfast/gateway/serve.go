package gateway

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"holdfast/cmd/holdfast/admin"
	"holdfast/cmd/holdfast/upgrade"
)

// takeSignals has signals wait for serve. It comes before anything that others
// could know this process by: a SIGHUP that nobody takes would end it, and with
// it, once it has taken over, every connection.
func takeSignals() <-chan os.Signal {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	return signals
}

// serve handles signals and operators' upgrades until the process is to end.
func (g *gateway) serve(signals <-chan os.Signal) error {
	for {
		select {
		case err := <-g.failed:
			return fmt.Errorf("loop failed: %w", err)
		case request := <-g.admin.Upgrades:
			done, err := g.replace(request.Report)
			request.Finish(err, done && errors.Is(err, upgrade.ErrGone))
			if done {
				return g.leave(signals, err)
			}
		case s := <-signals:
			if s != syscall.SIGHUP {
				return g.end(s, signals)
			}
			if done, err := g.replace(func(admin.Progress) {}); done {
				return g.leave(signals, err)
			}
		}
	}
}

// leave ends what still answers in a process that was replaced, and returns err.
func (g *gateway) leave(signals <-chan os.Signal, err error) error {
	g.passOn(signals)
	g.admin.ShutDown()
	g.metrics.shutDown()
	return err
}
