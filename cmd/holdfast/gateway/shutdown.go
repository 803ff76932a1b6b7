package gateway

import (
	"errors"
	"os"
	"strconv"
	"time"

	"holdfast/cmd/holdfast/config"
	"holdfast/cmd/holdfast/shard"
	"holdfast/conn"
)

// end closes everything.
func (g *gateway) end(s os.Signal, signals <-chan os.Signal) error {
	held, began := g.shards[0].Held, time.Now()
	g.log.Info("shutting down", "signal", s.String(), "connections", held.Load(), "grace", g.cfg.ShutdownGrace.String())
	g.reporter.Stopping(g.cfg.ShutdownGrace)
	g.gate.End()
	closeChargers(g.shards, shutdownClose(g.cfg.ShutdownClose), g.cfg.ShutdownGrace, signals)
	for _, s := range g.shards {
		s.Loop.Post(s.Loop.Stop)
	}
	turning := g.awaitLoops(max(stopTime, time.Until(began.Add(g.cfg.ShutdownGrace))))
	g.admin.ShutDown()
	g.metrics.shutDown()
	g.flip.Stop()
	<-g.flip.Exit()
	if !turning {
		return errors.New("a loop does not turn: the process ends without it")
	}
	lost := 0
	for _, s := range g.shards { // their loops have ended
		s.Leave()
		lost += s.Unacknowledged()
	}
	if lost > 0 {
		g.log.Warn("deliveries are lost: no processor has acknowledged them", "deliveries", lost)
	}
	g.log.Info("ended", "closed_by_force", held.Load())
	return nil
}

// stopTime is how long loops may take to end when nothing is left of the grace
// period.
const stopTime = time.Second

// awaitLoops returns true when all loops have ended, and false after limit.
func (g *gateway) awaitLoops(limit time.Duration) bool {
	ended := make(chan struct{})
	go func() {
		g.running.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return true
	case <-time.After(limit):
		return false
	}
}

// shutdownClose returns the end of each connection for a setting of -shutdown-close.
func shutdownClose(setting string) conn.Close {
	why := conn.ReasonShutdown.Close()
	if setting == config.ShutdownDrop {
		return why.WithoutFrame()
	}
	if code, err := strconv.Atoi(setting); err == nil {
		why.Code = code
	}
	return why
}

// closeChargers closes the chargers, spread over half of the grace period so that
// they do not all come back at once, and waits for them. A second signal cuts it
// short.
func closeChargers(shards []*shard.Shard, why conn.Close, grace time.Duration, signals <-chan os.Signal) {
	const steps = 50
	interval := max(time.Millisecond, grace/(2*steps))
	began := time.Now()
	spread, ends := began.Add(grace/2), began.Add(grace)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for shards[0].Held.Load() > 0 && time.Now().Before(ends) {
		// By the clock, not by counting: a busy machine skips ticks.
		left := int(time.Until(spread) / interval)
		for _, s := range shards {
			s.Loop.Post(func() { s.CloseShare(max(1, left), why) })
		}
		select {
		case <-tick.C:
		case <-signals:
			return
		}
	}
}
