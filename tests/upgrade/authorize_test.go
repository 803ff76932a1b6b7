package upgrade

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"holdfast/relay"
	"holdfast/tests/harness"
	"holdfast/tests/raw"
	"holdfast/unixipc"
)

// asked returns the next AUTHORIZE.
func (p *processor) asked() (ref uint64, a unixipc.AuthorizeBody) {
	p.t.Helper()
	f := p.next(unixipc.Authorize, "")
	if err := json.Unmarshal(f.Payload, &a); err != nil {
		p.t.Fatal(err)
	}
	return f.Ref, a
}

func (p *processor) verdict(ref uint64, body string) {
	p.t.Helper()
	p.send(bytesOf(unixipc.Frame{Type: unixipc.Verdict, Ref: ref, Payload: []byte(body)}))
}

// applies sends the request of a charger with a password, and waits until the
// processor is asked.
func applies(t *testing.T, w *harness.World, p *processor, identity string) (c *charger, ref uint64) {
	t.Helper()
	c = dial(t, w, identity)
	c.send(c.request("Authorization: Basic Y2hhcmdlcjpcxP8=")) // charger:\xc4\xff, with a backslash
	ref, a := p.asked()
	if a.Identity != identity || a.Path != "/ocpp/" || a.Subprotocol != "ocpp1.6" || a.Remote != c.LocalAddr().String() ||
		a.Basic == nil || string(a.Basic.Username) != "charger" || string(a.Basic.Password) != "\\\xc4\xff" {
		t.Fatalf("asked about %+v, %q", a, a.Basic)
	}
	return c, ref
}

// ofLoop is an identity of a loop.
func ofLoop(loop, loops int) string {
	for i := 0; ; i++ {
		if identity := fmt.Sprint("CP", i); relay.LoopOf(identity, loops) == loop {
			return identity
		}
	}
}

func (c *charger) refused(status int) {
	c.t.Helper()
	resp, err := http.ReadResponse(c.br, nil)
	if err != nil || resp.StatusCode != status {
		c.t.Fatalf("%s: %v, %v; want %d", c.identity, resp, err, status)
	}
}

func TestAuthorize(t *testing.T) {
	t.Parallel()
	for _, loops := range []int{1, 2} {
		w := harness.New(t, "-auth", "processor", "-handshake-timeout", "3s", "-loops", fmt.Sprint(loops))
		alone := dial(t, w, "alone")
		alone.send(alone.request())
		alone.refused(http.StatusServiceUnavailable) // nobody to ask
		p := joinAs(t, w, unixipc.HelloBody{Name: "p", Authorize: true, Loop: loops - 1})
		identity := ofLoop(loops-1, loops)
		c, ref := applies(t, w, p, identity)
		p.verdict(ref, `{"accept":true}`)
		c.opened()
		for body, status := range map[string]int{`{"status":401,"reason":"wrong"}`: 401, `{"status":404}`: 404, `{}`: 403, `{"status":503}`: 503} {
			c, ref := applies(t, w, p, identity)
			p.verdict(ref, body)
			c.refused(status)
		}
		// The processor that is asked dies: another is.
		c, _ = applies(t, w, p, identity)
		p.Close()
		q := joinAs(t, w, unixipc.HelloBody{Name: "q", Authorize: true, Loop: loops - 1})
		ref, _ = q.asked()
		q.verdict(ref, `{"accept":true}`)
		c.opened()
	}
}

// TestAuthorizeAcrossUpgrade: who waits for a verdict at the freeze gets one,
// from the new process or, when it is rolled back, from the old one.
func TestAuthorizeAcrossUpgrade(t *testing.T) {
	harness.Faulty(t)
	t.Run("upgraded", func(t *testing.T) {
		t.Parallel()
		w := harness.New(t, "-auth", "processor")
		p := joinAs(t, w, unixipc.HelloBody{Name: "p", Authorize: true})
		first, before := applies(t, w, p, "CP1")
		second, other := applies(t, w, p, "CP2")
		done := make(chan error, 1)
		go func() {
			_, err := upgrade(t, w)
			done <- err
		}()
		again := map[string]uint64{}
		for range 2 {
			ref, a := p.asked()
			again[a.Identity] = ref
			if ref <= other {
				t.Errorf("token %d is given again", ref)
			}
		}
		p.verdict(before, `{"status":404}`) // too late: it is of no use to anybody
		p.verdict(again["CP1"], `{"accept":true}`)
		p.verdict(again["CP2"], `{"status":401}`)
		first.opened()
		second.refused(http.StatusUnauthorized)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		first.send(raw.Text("hello"))
		p.ack(p.message("CP1", "hello"), "yes")
		first.expect(raw.OpText, "yes")
	})
	t.Run("rolled back", func(t *testing.T) {
		t.Parallel()
		w := newFailing(t, "-auth", "processor")
		p := joinAs(t, w, unixipc.HelloBody{Name: "p", Authorize: true})
		c, ref := applies(t, w, p, "CP1")
		mustRollBack(t, w)
		p.verdict(ref, `{"accept":true}`)
		c.opened()
	})
}
