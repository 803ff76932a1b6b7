package hostile

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/tests/harness"
	"holdfast/tests/raw"
)

// without is a request without a header line, or with another in its place.
func without(request, line, instead string) string {
	head, tail, ok := strings.Cut(request, "\r\n"+line)
	if !ok {
		panic("no line " + line)
	}
	_, tail, _ = strings.Cut(tail, "\r\n")
	if instead != "" {
		head += "\r\n" + instead
	}
	return head + "\r\n" + tail
}

func TestRefusals(t *testing.T) {
	w, _ := start(t)
	for _, tt := range []struct {
		name, identity, request string
		status                  int
		why                     string // in the log and the response
		header                  string
	}{
		{"no HTTP", "", "\x17\x03\x01\r\n\r\n", 400, "not an HTTP request", ""},
		{"bad escape", "", raw.Request("%zz"), 400, "%zz", ""},
		{"path", "", strings.Replace(raw.Request("r-path"), "/ocpp/", "/ocp/", 1), 404, "no such path", ""},
		{"no identity", "", raw.Request(""), 400, "identity is missing", ""},
		{"POST", "r-post", strings.Replace(raw.Request("r-post"), "GET", "POST", 1), 405, "GET", "Allow: GET"},
		{"HTTP/1.0", "r-old", strings.Replace(raw.Request("r-old"), "HTTP/1.1", "HTTP/1.0", 1), 400, "HTTP/1.1", ""},
		{"HTTP/2.0", "", strings.Replace(raw.Request("r-new"), "HTTP/1.1", "HTTP/2.0", 1), 505, "HTTP/2.0", ""},
		{"no host", "r-host", without(raw.Request("r-host"), "Host", ""), 400, "Host is missing", ""},
		{"two hosts", "", raw.Request("r-hosts", "Host: other"), 400, "Host stands there twice", ""},
		{"space before a colon", "", raw.Request("r-space", "X : y"), 400, "white space before a colon", ""},
		{"key twice", "r-twice", raw.Request("r-twice", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), 400, "Sec-WebSocket-Key stands there twice", ""},
		{"body", "r-body", raw.Request("r-body", "Content-Length: 3") + "abc", 400, "body", ""},
		{"no upgrade", "r-plain", without(raw.Request("r-plain"), "Upgrade", ""), 426, "Upgrade: websocket", "Sec-WebSocket-Version: 13"},
		{"no connection", "r-conn", without(raw.Request("r-conn"), "Connection", ""), 400, "Connection: Upgrade", ""},
		{"version", "r-version", without(raw.Request("r-version"), "Sec-WebSocket-Version", "Sec-WebSocket-Version: 8"), 426, "not 13", "Sec-WebSocket-Version: 13"},
		{"no key", "r-key", without(raw.Request("r-key"), "Sec-WebSocket-Key", ""), 400, "Sec-WebSocket-Key", ""},
		{"large", "", raw.Request("r-large", "X: "+strings.Repeat("x", 10_000)), 431, "8192 bytes", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := connect(t, w)
			c.send(tt.request)
			resp := c.response()
			body, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != tt.status || !strings.Contains(string(body), tt.why) {
				t.Errorf("%s: %s", resp.Status, body)
			}
			if name, value, ok := strings.Cut(tt.header, ": "); ok && resp.Header.Get(name) != value {
				t.Errorf("%s is %q", name, resp.Header.Get(name))
			}
			c.expectEnd()
			l := logged(t, w, "refused", tt.identity, tt.why)
			if l.Fields["status"] != float64(tt.status) || l.String("remote") == "" || l.String("path") == "" && tt.name != "no HTTP" {
				t.Errorf("logged %s", l.Text)
			}
		})
	}
	for _, offer := range []string{"", "Sec-WebSocket-Protocol: ocpp1.5, soap", "Sec-WebSocket-Protocol: \xff\xfe"} {
		c := connect(t, w)
		c.send(without(raw.Request("r-subprotocol"), "Sec-WebSocket-Protocol", offer))
		if resp := c.response(); resp.StatusCode != 101 || resp.Header.Get("Sec-WebSocket-Protocol") != "" {
			t.Errorf("%q: %s, %v", offer, resp.Status, resp.Header)
		}
		c.expectClose(1002)
		logged(t, w, "refused", "r-subprotocol", "subprotocol")
	}
}

func TestIdentities(t *testing.T) {
	w, p := start(t)
	for _, tt := range []struct {
		name, target, identity string
		status                 int
	}{
		{"255 bytes", strings.Repeat("x", 255), strings.Repeat("x", 255), 101},
		{"256 bytes", strings.Repeat("x", 256), strings.Repeat("x", 256), 400},
		{"85 runes of 3 bytes", strings.Repeat("%E6%97%A5", 85), strings.Repeat("日", 85), 101},
		{"86 runes of 3 bytes", strings.Repeat("%E6%97%A5", 86), strings.Repeat("日", 86), 400},
		{"slash", "a%2Fb", "a/b", 400},
		{"NUL", "a%00b", "a\x00b", 400},
		{"line feed", "a%0Ab", "a\nb", 400},
		{"not UTF-8", "a%FF", "", 400}, // JSON cannot name it
		{"UTF-8", "Zapfs%C3%A4ule%20%F0%9F%94%8C", "Zapfsäule 🔌", 101},
		{"trailing slash", "i-slash/", "i-slash", 101},
		{"two trailing slashes", "i-slashes//", "", 404},
		{"query", "i-query?identity=x", "i-query", 101},
		{"percent", "100%25", "100%", 101},
		{"quotes", `i-"quoted"\`, `i-"quoted"\`, 101},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := connect(t, w)
			c.send(raw.Request(tt.target))
			if resp := c.response(); resp.StatusCode != tt.status {
				t.Fatal(resp.Status)
			}
			if tt.status != 101 {
				if tt.identity != "" {
					logged(t, w, "refused", tt.identity, "identity")
				}
				return
			}
			c.send(raw.Text("I am " + tt.name))
			c.expect(answered("I am %s", tt.name))
			if got := p.got(tt.identity); len(got) != 1 || got[0] != "I am "+tt.name {
				t.Errorf("the processor got %q", got)
			}
			c.send(raw.Masked(raw.Fin|raw.OpClose, raw.Closing(1000, "done")))
			c.expectClose(1000)
			logged(t, w, "closed", tt.identity, "done")
		})
	}
}

// Frames in the packet of the request belong to the connection.
func TestEarlyFrames(t *testing.T) {
	w, _ := start(t)
	c := connect(t, w)
	early := raw.Text("early")
	c.send(raw.Request("early"), early, raw.Text("second"), early[:3])
	c.response()
	c.expect(answered("early"))
	c.expect(answered("second"))
	c.send(early[3:])
	c.expect(answered("early"))
}

// A handshake byte by byte is cut off at its time-out, and so is silence.
func TestSlowHandshakes(t *testing.T) {
	const timeout = 700 * time.Millisecond
	w, _ := start(t, "-handshake-timeout", timeout.String())
	var all sync.WaitGroup
	for i := range 30 {
		c := connect(t, w)
		began := time.Now()
		all.Go(func() {
			if i%3 > 0 {
				go func() {
					for _, b := range []byte(raw.Request("slow")) {
						if _, err := c.Write([]byte{b}); err != nil {
							return
						}
						time.Sleep(timeout / 20) // it is slow
					}
				}()
			}
			c.expectEnd()
			if took := time.Since(began); took < timeout-50*time.Millisecond || took > timeout+sane {
				t.Errorf("cut off after %v", took)
			}
		})
	}
	all.Wait()
	if _, err := w.WaitLog(t.Context(), "the time-out", func(l harness.Line) bool {
		return l.Msg() == "handshake failed" && strings.Contains(l.String("reason"), "timeout") && l.String("remote") != ""
	}); err != nil {
		t.Error(err)
	}
}

// Never more connections than -max-connections, however many come at once; who
// comes when one is free gets in.
func TestTooManyConnections(t *testing.T) {
	const most = 20
	w, _ := start(t, "-max-connections", fmt.Sprint(most+1)) // and the witness
	var in atomic.Int64
	var held sync.Map
	var all sync.WaitGroup
	begin := make(chan struct{})
	for i := range 10 * most {
		c := connect(t, w)
		all.Go(func() {
			<-begin
			id := fmt.Sprint("many-", i)
			if _, err := io.WriteString(c, raw.Request(id)); err != nil {
				t.Error(err)
				return
			}
			resp, err := http.ReadResponse(c.br, nil)
			switch {
			case err != nil:
				t.Error(err)
			case resp.StatusCode == http.StatusSwitchingProtocols:
				in.Add(1)
				held.Store(id, c)
			case resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "":
				t.Errorf("%s: %v", resp.Status, resp.Header)
			}
		})
	}
	close(begin)
	all.Wait()
	// One that is between handshake and loop may count twice for a moment.
	if n := in.Load(); n > most || n < most/2 {
		t.Errorf("%d are let in, want %d", n, most)
	}
	if _, err := w.WaitLog(t.Context(), "a refusal", func(l harness.Line) bool {
		return l.Msg() == "refused" && strings.HasPrefix(l.String("charger"), "many-") && l.String("reason") == "all connections are taken"
	}); err != nil {
		t.Error(err)
	}
	held.Range(func(id, c any) bool {
		c.(*charger).reset()
		logged(t, w, "closed", id.(string), "")
		return false
	})
	harness.Until(t, "the next to be let in", func() bool {
		c := connect(t, w)
		c.send(raw.Request("next"))
		return c.response().StatusCode == http.StatusSwitchingProtocols
	})
	for i := 0; ; i++ {
		c := connect(t, w)
		c.send(raw.Request(fmt.Sprint("full-", i)))
		if c.response().StatusCode == http.StatusServiceUnavailable {
			break
		}
	}
	c := connect(t, w)
	c.send(raw.Request("next"))
	if resp := c.response(); resp.StatusCode != http.StatusSwitchingProtocols {
		t.Errorf("who is held and comes back is refused: %s", resp.Status)
	}
	logged(t, w, "closed", "next", "replaced")
}

// 429 beyond -max-handshakes-per-second.
func TestTooManyHandshakes(t *testing.T) {
	w, _ := start(t, "-max-handshakes-per-second", "5")
	in, out := 0, 0
	for i := range 30 {
		c := connect(t, w)
		id := fmt.Sprint("storm-", i)
		c.send(raw.Request(id))
		switch resp := c.response(); {
		case resp.StatusCode == http.StatusSwitchingProtocols:
			in++
		case resp.StatusCode == http.StatusTooManyRequests && resp.Header.Get("Retry-After") != "":
			out++
			logged(t, w, "refused", id, "per second")
		default:
			t.Errorf("%s: %v", resp.Status, resp.Header)
		}
	}
	if in < 4 || out < 5 {
		t.Errorf("%d in, %d out", in, out)
	}
}

// Thousands of connects that say nothing, or nothing of sense, leave nothing.
func TestConnectFlood(t *testing.T) {
	w, _ := start(t)
	before, err := harness.Files(w.Pid())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3000 {
		nc, err := net.Dial("tcp", w.Addr)
		if err != nil {
			t.Fatal(err)
		}
		switch i % 4 {
		case 0:
			_, _ = io.WriteString(nc, "GET")
		case 1:
			_, _ = io.WriteString(nc, raw.Request("flood"))
		case 2:
			_ = nc.(*net.TCPConn).SetLinger(0)
		}
		nc.Close()
	}
	harness.Until(t, "the files to be closed", func() bool {
		n, err := harness.Files(w.Pid())
		return err == nil && n <= before+2
	})
	open(t, w, "after")
}
