package tlsclients

import (
	"os"
	"testing"

	"holdfast/tests/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// upgrades is how many each client must not notice.
const upgrades = 5
