package delivery

import (
	"os"
	"testing"

	"holdfast/tests/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }
