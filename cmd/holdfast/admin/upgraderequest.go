package admin

// UpgradeRequest is one `holdfast upgrade` that waits for the outcome.
type UpgradeRequest struct {
	lines chan Progress // closed when it is over
	last  Progress      // the outcome, once lines is closed
}

// Report passes a step of the upgrade on to whoever asked for it. It never waits.
func (r *UpgradeRequest) Report(p Progress) {
	select {
	case r.lines <- p:
	default: // whoever watches does not read; the outcome is what matters
	}
}

// Finish reports the outcome of the upgrade, and ends the request. gone is true if
// nobody owns the connections any more.
func (r *UpgradeRequest) Finish(err error, gone bool) {
	last := Progress{Phase: "done"}
	switch {
	case gone:
		last = Progress{Phase: "failed", Error: err.Error()}
	case err != nil:
		last = Progress{Phase: PhaseRolledBack, Error: err.Error()}
	}
	r.last = last
	close(r.lines)
}
