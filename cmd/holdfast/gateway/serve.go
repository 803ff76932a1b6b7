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

// signalLeave has the gateway end at once and leave its connections to the keeper, for the
// process that comes next: a restart by order. Not SIGUSR1, which means something else in
// builds for tests (hang_on.go).
const signalLeave = syscall.SIGUSR2

// takeSignals has signals wait for serve. It comes before anything that others
// could know this process by: a SIGHUP that nobody takes would end it, and with
// it, once it has taken over, every connection.
func takeSignals() <-chan os.Signal {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, signalLeave)
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
			switch {
			case s == syscall.SIGHUP:
				if done, err := g.replace(func(admin.Progress) {}); done {
					return g.leave(signals, err)
				}
			case s == signalLeave && g.keeping.Up():
				g.log.Info("leaves everything to the keeper", "signal", s.String(), "connections", g.shards[0].Held.Load())
				for _, s := range g.shards {
					s.Loop.Post(func() { s.LeaveBehind() })
				}
				g.awaitLoops(stopTime) // or it is a crash, which is no worse
				return nil
			default: // also without a keeper: it would be a crash, and nobody would go on from it
				return g.end(s, signals)
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
