package gateway

import (
	"log/slog"
	"syscall"

	"holdfast/cmd/holdfast/config"
)

// raiseFiles raises the soft limit of open files to the hard one. Go does so,
// too, but takes it back in processes that it starts.
func raiseFiles() {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err == nil {
		limit.Cur = limit.Max
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	}
}

// warnFiles warns if the hard limit of open files is lower than what the
// configuration may need.
func warnFiles(c *config.Config, log *slog.Logger) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return
	}
	need := uint64(c.MaxConnections + c.Handshakes + c.MaxLinks + 64)
	if limit.Max < need {
		log.Warn("file limit is too low for max-connections", "limit", limit.Max, "needed", need,
			"remedy", "LimitNOFILE= of the unit, or a lower max-connections")
	}
}
