package main

import "time"

// upgradeReport is what status says about it.
type upgradeReport struct {
	At          time.Time `json:"at"`
	Outcome     string    `json:"outcome"` // done or rolled_back
	Reason      string    `json:"reason,omitempty"`
	PauseMS     float64   `json:"pause_ms"` // 0: it did not come to a freeze
	TookSeconds float64   `json:"took_seconds"`
	Connections int64     `json:"connections"`
}

// Outcomes of an upgrade.
const (
	outcomeDone       = "done"
	outcomeRolledBack = "rolled_back"
)
