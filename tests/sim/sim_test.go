package sim

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

func run(t *testing.T, c Config) Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, err := Run(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestGoodGatewayHasNoFaults(t *testing.T) {
	c := quick(startFake(t, nil))
	c.Ping = 100 * time.Millisecond
	c.Sources = 3
	r := run(t, c)
	if err := r.Err(); err != nil {
		t.Fatalf("%v; %q", err, r.Faults)
	}
	if r.Opened != 20 || r.Sent < 300 || r.Rate < 500 || r.Rate > 1500 || r.Answered != r.Sent || r.Latency.Max <= 0 {
		t.Fatalf("%+v", r)
	}
	if r.Pings == 0 || r.Pongs == 0 {
		t.Fatalf("%d pings, %d pongs", r.Pings, r.Pongs)
	}
}

// The simulator is worth something only if it sees each of these.
func TestFaultsAreSeen(t *testing.T) {
	for _, c := range []struct {
		name   string
		faults []string // as Report.Err names them
		config func(*Config)
		misdo  misdeed
	}{
		{"no answer", []string{"lost"}, nil, func(_ io.Writer, n int, _ message) (bool, error) {
			return n == 5, nil
		}},
		{"two answers", []string{"duplicated"}, nil, func(w io.Writer, n int, m message) (bool, error) {
			if n != 5 {
				return false, nil
			}
			return false, answer(w, string(m.id))
		}},
		{"old answer again", []string{"duplicated"}, nil, func(w io.Writer, n int, m message) (bool, error) {
			if n != 5 {
				return false, nil
			}
			return false, answer(w, numbered(string(m.id), -3))
		}},
		{"answers swapped", []string{"out-of-order"}, func(c *Config) { c.Outstanding = 4 }, swapped},
		{"answer after the deadline", []string{"lost", "out-of-order"}, nil, func(w io.Writer, n int, m message) (bool, error) {
			switch n {
			case 5:
				return true, nil
			case 6:
				if err := answer(w, string(m.id)); err != nil {
					return true, err
				}
				return true, answer(w, numbered(string(m.id), -1))
			}
			return false, nil
		}},
		{"another's answer", []string{"stray", "lost"}, nil, func(w io.Writer, n int, m message) (bool, error) {
			return n == 5, answerIf(n == 5, w, "00000000.1.5")
		}},
		{"answer before the question", []string{"stray"}, nil, func(w io.Writer, n int, m message) (bool, error) {
			return false, answerIf(n == 5, w, numbered(string(m.id), 1))
		}},
		{"hang up", []string{"dropped", "lost"}, nil, func(_ io.Writer, n int, _ message) (bool, error) {
			if n == 5 {
				return true, errHangUp
			}
			return false, nil
		}},
		{"close frame", []string{"dropped", "lost"}, nil, func(w io.Writer, n int, _ message) (bool, error) {
			if n == 5 {
				return true, ws.WriteFrame(w, ws.NewCloseFrame(ws.NewCloseFrameBody(1012, "restart")))
			}
			return false, nil
		}},
		{"masked frame", []string{"dropped", "lost"}, nil, func(w io.Writer, n int, m message) (bool, error) {
			if n == 5 {
				return true, wsutil.WriteClientText(w, []byte(`[3,"a",{}]`))
			}
			return false, nil
		}},
		{"broken JSON", []string{"malformed"}, nil, func(w io.Writer, n int, m message) (bool, error) {
			if n == 5 {
				return false, wsutil.WriteServerText(w, []byte(`[3,"`+string(m.id)+`",{`))
			}
			return false, nil
		}},
		{"CALLERROR", []string{"errors"}, nil, func(w io.Writer, n int, m message) (bool, error) {
			if n == 5 {
				return true, wsutil.WriteServerText(w, []byte(`[4,"`+string(m.id)+`","InternalError","",{}]`))
			}
			return false, nil
		}},
		{"none", nil, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			config := quick(startFake(t, c.misdo))
			if c.config != nil {
				c.config(&config)
			}
			r := run(t, config)
			err := r.Err()
			if err == nil && c.faults != nil || err != nil && c.faults == nil {
				t.Fatalf("got %v, want %v", err, c.faults)
			}
			for _, f := range c.faults {
				if !strings.Contains(err.Error(), f) {
					t.Errorf("%q does not say %s", err, f)
				}
			}
			if err := r.Err(c.faults...); err != nil {
				t.Errorf("beside %v: %v; %q", c.faults, err, r.Faults)
			}
		})
	}
}

func answerIf(yes bool, w io.Writer, id string) error {
	if !yes {
		return nil
	}
	return answer(w, id)
}

// swapped holds the answer to the fourth message back until the fifth was answered.
func swapped(w io.Writer, n int, m message) (bool, error) {
	switch n {
	case 4:
		return true, nil
	case 5:
		if err := answer(w, string(m.id)); err != nil {
			return true, err
		}
		return true, answer(w, numbered(string(m.id), -1))
	}
	return false, nil
}

func TestLongestSilenceSeesASlowAnswer(t *testing.T) {
	const slow = 200 * time.Millisecond
	url := startFake(t, func(_ io.Writer, n int, _ message) (bool, error) {
		if n == 3 {
			time.Sleep(slow)
		}
		return false, nil
	})
	r := run(t, quick(url))
	if r.Err() != nil || r.LongestSilence < slow || r.Latency.Max < slow-time.Millisecond || r.Skipped == 0 {
		t.Fatalf("%v; silence %v, latency %v, skipped %d", r.Err(), r.LongestSilence, r.Latency.Max, r.Skipped)
	}
}

func TestRefusedIsCounted(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	r := run(t, quick("ws://"+l.Addr().String()))
	if r.Refused != 20 || r.Opened != 0 || r.Err() == nil {
		t.Fatalf("%+v", r)
	}
}

func TestEndOfContextDrains(t *testing.T) {
	c := quick(startFake(t, nil))
	c.Duration = 0
	ctx, cancel := context.WithCancel(t.Context())
	s, err := Start(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.AllOpen(ctx); err != nil {
		t.Fatal(err)
	}
	for s.Counters.Answered.Load() < 100 {
		if ctx.Err() != nil {
			t.Fatal(ctx.Err())
		}
		time.Sleep(time.Millisecond) // polls a condition
	}
	cancel()
	if r := s.Wait(); r.Err() != nil || r.Answered != r.Sent {
		t.Fatalf("%v: %+v", r.Err(), r)
	}
}

func TestOverTLS(t *testing.T) {
	https := httptest.NewUnstartedServer(nil) // for its certificate
	https.StartTLS()
	defer https.Close()
	l, err := tls.Listen("tcp4", "127.0.0.1:0", &tls.Config{Certificates: https.TLS.Certificates})
	if err != nil {
		t.Fatal(err)
	}
	c := quick(serveFake(t, l, "wss", nil))
	if r := run(t, c); r.Refused != 20 {
		t.Fatalf("an unknown certificate was trusted: %+v", r)
	}
	c.TLS = &tls.Config{InsecureSkipVerify: true}
	if r := run(t, c); r.Err() != nil || r.Answered == 0 {
		t.Fatalf("%v: %+v", r.Err(), r)
	}
}

func TestIdleSendsNothing(t *testing.T) {
	c := quick(startFake(t, nil))
	c.Rate = 0
	if r := run(t, c); r.Err() != nil || r.Opened != 20 || r.Sent != 0 {
		t.Fatalf("%v: %+v", r.Err(), r)
	}
}
