package wss

import (
	"errors"
	"io"
	"net"
	"os/exec"
	"slices"
	"syscall"
	"testing"

	"holdfast/tests/harness"
	"holdfast/tests/raw"
)

// ending reads up to the end of the stream, and returns the code of the Close frame
// before it; 0: there was none.
func (c *charger) ending(t *testing.T) (code int) {
	t.Helper()
	code, err := raw.ReadClose(c.br)
	if err == nil {
		_, err = c.br.ReadByte()
	} else {
		code = 0
	}
	// Without a Close frame TLS, too, ends without a word.
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the stream ended with %v", err)
	}
	return code
}

// both opens a charger over ws, and one over wss.
func both(t *testing.T, w *harness.World) []*charger {
	t.Helper()
	all := []*charger{open(t, connect(t, w.Addr), "PLAIN"), open(t, dialTLS(t, w, w.TLS.Client()), "TLS")}
	for _, c := range all {
		c.mustAsk(t)
	}
	return all
}

// The setting is read again at an upgrade, and decides how a stop closes chargers.
func TestShutdownClose(t *testing.T) {
	for setting, want := range map[string]int{"1012": 1012, "1001": 1001, "drop": 0} {
		t.Run(setting, func(t *testing.T) {
			t.Parallel()
			w := harness.NewOf(t, harness.Setup{File: true})
			w.Processor("reference")
			chargers := both(t, w)
			if err := w.Configure("shutdown-close " + setting); err != nil {
				t.Fatal(err)
			}
			w.MustUpgrade()
			pid, err := w.CurrentPid()
			if err != nil {
				t.Fatal(err)
			}
			if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			for _, c := range chargers {
				if code := c.ending(t); code != want {
					t.Errorf("closed with %d, want %d", code, want)
				}
				if want != 0 {
					if _, err := c.Write([]byte(raw.Masked(raw.Fin|raw.OpClose, raw.Closing(want, "")))); err != nil {
						t.Log(err)
					}
				}
				_ = c.Close()
			}
			harness.Until(t, "the gateway to end", func() bool { return len(w.Pids()) == 0 })
			if !w.Log.Contains(`"closed_by_force":0`) {
				t.Error("a charger that ended was closed by force")
			}
		})
	}
}

// An order to drop ends TCP without a Close frame, also across an upgrade, and what
// the charger sends until it notices still comes to the processor.
func TestCloseDrop(t *testing.T) {
	w := harness.NewOf(t, harness.Setup{File: true, Lines: []string{"close-timeout 1m"}})
	w.Processor("reference")
	for i, c := range both(t, w) {
		identity := []string{"PLAIN", "TLS"}[i]
		out, err := exec.CommandContext(t.Context(), harness.Holdfast(), "close", "-admin-socket", w.AdminSocket(), "-drop", "-reason", "come again", identity).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if code := c.ending(t); code != 0 {
			t.Errorf("%s: closed with %d", identity, code)
		}
		w.MustUpgrade()
		if tcp, ok := c.Conn.(*net.TCPConn); ok {
			_ = tcp.CloseWrite()
		} else {
			_ = c.Close()
		}
		harness.Until(t, "the end in the log", func() bool {
			return slices.ContainsFunc(w.Log.Lines(), func(l harness.Line) bool {
				return l.Msg() == "closed" && l.String("charger") == identity && l.String("reason") == "come again" && l.String("by") == "operator"
			})
		})
	}
}
