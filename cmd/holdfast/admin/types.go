package admin

import "time"

// Status is the answer to GET /status, which `holdfast status` shows.
type Status struct {
	Version      string         `json:"version"`
	PID          int            `json:"pid"`
	Started      time.Time      `json:"started"` // this process
	Since        time.Time      `json:"since"`   // the first of those that upgraded each other
	ShuttingDown bool           `json:"shutting_down,omitempty"`
	Listen       []string       `json:"listen"`
	Connections  int            `json:"connections"`
	Limit        int            `json:"connections_limit"`
	Keeper       string         `json:"keeper,omitempty"` // KeeperUp or KeeperGone; empty: none is configured
	Kinds        []KindStatus   `json:"kinds"`
	Queue        QueueStatus    `json:"queue"`
	Links        []LinkStatus   `json:"links"`
	LastUpgrade  *UpgradeReport `json:"last_upgrade"`
	// Certificates are all of all files, in their order.
	Certificates []CertificateStatus `json:"certificates,omitempty"`
}

// What Status.Keeper can be.
const (
	KeeperUp   = "up"
	KeeperGone = "gone"
)

// CertificateStatus is a certificate of tls-cert or tls-client-ca.
type CertificateStatus struct {
	File    string    `json:"file"`
	Subject string    `json:"subject"`
	Ends    time.Time `json:"ends"`
}

// KindStatus counts the connections of one kind.
type KindStatus struct {
	Subprotocol string `json:"subprotocol"`
	TLS         string `json:"tls"`
	Connections int    `json:"connections"`
}

// QueueStatus is about deliveries that no processor has acknowledged.
type QueueStatus struct {
	Messages      int     `json:"messages"`
	Bytes         int     `json:"bytes"`
	InFlight      int     `json:"in_flight"` // those that a processor has
	OldestSeconds float64 `json:"oldest_seconds"`
	Chargers      int     `json:"chargers"` // that have any
	Paused        int     `json:"paused"`   // of these, not read from because of it
	Offline       int     `json:"offline"`  // of these, not connected
	// GivenBack counts those whose oldest delivery was given back (NACK) ten times in a
	// row or more.
	GivenBack int `json:"given_back"`
	// Restless are the few that have connected most often since a processor has taken
	// anything from them.
	Restless []RestlessCharger `json:"restless,omitempty"`
}

// RestlessCharger is a charger that connects again and again.
type RestlessCharger struct {
	Identity    string  `json:"identity"`
	Connections int     `json:"connections"` // that no processor has heard of
	Messages    int     `json:"messages"`    // deliveries that wait
	Seconds     float64 `json:"seconds"`     // since the first of them
}

// LinkStatus is a link: of a processor, or of an operator's command.
type LinkStatus struct {
	Processor string `json:"processor"`
	PID       int    `json:"pid"`
	UID       int    `json:"uid"`
	Loop      int    `json:"loop"`
	Link      uint32 `json:"link"`
	Chargers  int    `json:"chargers"`
	InFlight  int    `json:"in_flight"`
	Window    int    `json:"window"`
	Queue     int    `json:"queue"`     // deliveries of its chargers that it does not have yet
	Unwritten int    `json:"unwritten"` // bytes that it does not read
	Draining  bool   `json:"draining,omitempty"`
	Operator  bool   `json:"operator,omitempty"` // a command, and no processor
	AskOnly   bool   `json:"ask_only,omitempty"` // takes no deliveries
}

// ChargerStatus is a line of `holdfast list`.
type ChargerStatus struct {
	Identity    string    `json:"identity"`
	Subprotocol string    `json:"subprotocol"`
	TLS         string    `json:"tls"`
	Remote      string    `json:"remote"`
	Opened      time.Time `json:"opened"`
	Processor   string    `json:"processor,omitempty"`  // the owner
	Queue       int       `json:"queue"`                // deliveries that no processor has acknowledged
	Paused      bool      `json:"paused,omitempty"`     // not read from
	Gone        bool      `json:"gone,omitempty"`       // paused, and its end of the connection has closed
	GivenBack   int       `json:"given_back,omitempty"` // times in a row that the oldest delivery was given back (NACK)
}

// UpgradeReport is the outcome of an upgrade, as Status has it.
type UpgradeReport struct {
	At          time.Time `json:"at"`
	Outcome     string    `json:"outcome"` // done or rolled_back
	Reason      string    `json:"reason,omitempty"`
	PauseMS     float64   `json:"pause_ms"` // 0: it did not come to a freeze
	TookSeconds float64   `json:"took_seconds"`
	Connections int64     `json:"connections"`
}

// Outcomes of an upgrade.
const (
	OutcomeDone       = "done"
	OutcomeRolledBack = "rolled_back"
)

// Progress is one line of the answer to POST /upgrade.
type Progress struct {
	Phase   string  `json:"phase"`
	Text    string  `json:"text,omitempty"`
	Done    int64   `json:"done,omitempty"`
	Total   int64   `json:"total,omitempty"`
	Seconds float64 `json:"seconds,omitempty"` // since the upgrade began
	Error   string  `json:"error,omitempty"`   // why it was rolled back, or why nobody owns the connections
}

// PhaseRolledBack is the last phase of an upgrade that changed nothing.
const PhaseRolledBack = "rolled back"

// linkProtocol is what GET /link is upgraded to: a link as processors have them,
// see docs/protocol.md, but an operator's.
const linkProtocol = "holdfast-link"

// deadlineHeader has the moment until which a verdict is of use.
const deadlineHeader = "Holdfast-Deadline"

// NoTLS stands where the version of TLS would, for a connection over ws.
const NoTLS = "none"
