package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

var discard = slog.New(slog.DiscardHandler)

var subprotocols = map[version]string{v16: "ocpp1.6", v201: "ocpp2.0.1", v21: "ocpp2.1"}

// testCentral is a central system on a day in 2026. Its chargers CP16, CP201
// and CP21 have said what they speak, others have not.
func testCentral(t *testing.T, off ...string) *central {
	t.Helper()
	ids, err := openTransactions(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c := newCentral(ids, 300*time.Second, off, discard)
	c.now = func() time.Time {
		return time.Date(2026, 1, 31, 13, 0, 0, 123456789, time.FixedZone("CET", 3600))
	}
	for v, subprotocol := range subprotocols {
		c.opened(charger(v), subprotocol)
	}
	return c
}

func charger(v version) string {
	return map[version]string{v16: "CP16", v201: "CP201", v21: "CP21", unknownVersion: "CP"}[v]
}

func serve(t *testing.T, c *central, identity, message string) string {
	t.Helper()
	b, err := c.serve(delivery{identity: identity, payload: []byte(message)})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func call(action, payload string) string { return fmt.Sprintf(`[2,"m1",%q,%s]`, action, payload) }

// answer returns the payload of a CALLRESULT, and fails if it is none.
func answer(t *testing.T, reply string) map[string]any {
	t.Helper()
	var parts []any
	if err := json.Unmarshal([]byte(reply), &parts); err != nil {
		t.Fatalf("reply %q: %v", reply, err)
	}
	if len(parts) != 3 || parts[0] != 3.0 || parts[1] != "m1" {
		t.Fatalf("reply %s is no CALLRESULT", reply)
	}
	return parts[2].(map[string]any)
}

// answers that are not empty; those of 2.0.1 hold for 2.1 too, if not given anew.
var answers = map[version]map[string]string{
	v16: {
		"Authorize":        `{"idTagInfo":{"status":"Accepted"}}`,
		"BootNotification": `{"currentTime":"2026-01-31T12:00:00.123Z","interval":300,"status":"Accepted"}`,
		"DataTransfer":     `{"status":"UnknownVendorId"}`,
		"Heartbeat":        `{"currentTime":"2026-01-31T12:00:00.123Z"}`,
		"SignCertificate":  `{"status":"Rejected"}`,
		"StartTransaction": `{"idTagInfo":{"status":"Accepted"},"transactionId":ID}`,
	},
	v201: {
		"Authorize":                `{"idTokenInfo":{"status":"Accepted"}}`,
		"BootNotification":         `{"currentTime":"2026-01-31T12:00:00.123Z","interval":300,"status":"Accepted"}`,
		"DataTransfer":             `{"status":"UnknownVendorId"}`,
		"Get15118EVCertificate":    `{"exiResponse":"","status":"Failed"}`,
		"GetCertificateStatus":     `{"status":"Failed"}`,
		"Heartbeat":                `{"currentTime":"2026-01-31T12:00:00.123Z"}`,
		"NotifyEVChargingNeeds":    `{"status":"Rejected"}`,
		"NotifyEVChargingSchedule": `{"status":"Accepted"}`,
		"SignCertificate":          `{"status":"Rejected"}`,
	},
	v21: {
		"NotifyEVChargingNeeds": `{"status":"NoChargingProfile"}`,
		"GetCertificateChainStatus": `{"certificateStatus":[{"certificateHashData":{"hashAlgorithm":"SHA256","issuerNameHash":"a",` +
			`"issuerKeyHash":"b","serialNumber":"1"},"nextUpdate":"2026-02-01T12:00:00.123Z","source":"OCSP","status":"Failed"}]}`,
		"OpenPeriodicEventStream":   `{"status":"Accepted"}`,
		"PullDynamicScheduleUpdate": `{"status":"Rejected"}`,
		"VatNumberValidation":       `{"evseId":1,"status":"Rejected","vatNumber":"NL123456789B01"}`,
	},
}

func wantAnswer(v version, action string) string {
	if want, ok := answers[v][action]; ok {
		return want
	}
	if v == v21 {
		return wantAnswer(v201, action)
	}
	return `{}`
}

func TestEveryAction(t *testing.T) {
	c := testCentral(t)
	for v, table := range actions {
		if got, want := slices.Sorted(maps.Keys(requests[v])), slices.Sorted(maps.Keys(table)); !slices.Equal(got, want) {
			t.Errorf("version %s: tested %v, answered %v", subprotocols[v], got, want)
		}
		for name, payload := range requests[v] {
			reply := serve(t, c, charger(v), call(name, payload))
			want := wantAnswer(v, name)
			if id, ok := answer(t, reply)["transactionId"]; ok {
				want = strings.Replace(want, "ID", fmt.Sprintf("%.0f", id), 1)
			}
			if reply != `[3,"m1",`+want+`]` {
				t.Errorf("%s %s: %s, want payload %s", subprotocols[v], name, reply, want)
			}
		}
	}
}

// The version of a charger that did not say what it speaks shows in its messages.
func TestUnknownSubprotocol(t *testing.T) {
	c := testCentral(t)
	c.opened("CP", "something")
	for v, table := range requests {
		for name, payload := range table {
			want := answer(t, serve(t, c, charger(v), call(name, payload)))
			got := answer(t, serve(t, c, charger(unknownVersion), call(name, payload)))
			if v == v21 && name == "NotifyEVChargingNeeds" {
				want["status"] = "Rejected" // cannot be told from 2.0.1, and both are valid in 2.1
			}
			if !slices.Equal(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want))) || got["status"] != want["status"] {
				t.Errorf("%s %s: %v, want %v", subprotocols[v], name, got, want)
			}
		}
	}
}

func TestVersionFromOpenedToClosed(t *testing.T) {
	c := testCentral(t)
	boot := call("BootNotification", `{"chargePointVendor":"V","chargePointModel":"M"}`)
	answer(t, serve(t, c, "CP16", boot))
	c.opened("CP16", "ocpp2.0.1")
	if reply := serve(t, c, "CP16", boot); !strings.HasPrefix(reply, `[4,`) {
		t.Errorf("2.0.1 took a boot of 1.6: %s", reply)
	}
	c.closed("CP16")
	answer(t, serve(t, c, "CP16", boot))
}

func TestAnswersThatDependOnTheRequest(t *testing.T) {
	c := testCentral(t)
	for _, tt := range []struct {
		v             version
		action, extra string // a field added to the smallest request
		want          string
	}{
		{v16, "StopTransaction", `"idTag":"04E1"`, `{"idTagInfo":{"status":"Accepted"}}`},
		{v201, "TransactionEvent", `"idToken":{"idToken":"04E1","type":"ISO14443"}`, `{"idTokenInfo":{"status":"Accepted"}}`},
		{v201, "TransactionEvent", `"idToken":null`, `{}`},
		{v201, "Authorize", `"certificate":"PEM"`, `{"certificateStatus":"NoCertificateAvailable","idTokenInfo":{"status":"Invalid"}}`},
		{v21, "Authorize", `"iso15118CertificateHashData":[{}]`, `{"certificateStatus":"NoCertificateAvailable","idTokenInfo":{"status":"Invalid"}}`},
		{v21, "VatNumberValidation", `"evseId":"x","VATNUMBER":5`, `{"status":"Rejected","vatNumber":"NL123456789B01"}`},
	} {
		payload := strings.TrimSuffix(requests[tt.v][tt.action], "}") + "," + tt.extra + "}"
		if got := serve(t, c, charger(tt.v), call(tt.action, payload)); got != `[3,"m1",`+tt.want+`]` {
			t.Errorf("%s with %s: %s, want %s", tt.action, tt.extra, got, tt.want)
		}
	}
}

// A start that comes again, by whomever it is sent, is the same transaction until that
// has been stopped.
func TestStartThatComesAgain(t *testing.T) {
	c := testCentral(t)
	send := func(identity, payload string) any {
		b, err := c.serve(delivery{identity: identity, payload: []byte(payload)})
		if err != nil {
			t.Fatal(err)
		}
		return answer(t, string(b))["transactionId"]
	}
	one := call("StartTransaction", requests16["StartTransaction"])
	later := strings.Replace(one, "12:00:00", "13:00:00", 1) // the same message id after a reboot
	id := send("CP16", one)
	if got := send("CP16", one); got != id {
		t.Errorf("again: id %v, want %v", got, id)
	}
	stop := func(identity string, id any) {
		send(identity, call("StopTransaction", fmt.Sprintf(`{"transactionId":%.0f,"meterStop":1,"timestamp":"2026-01-31T14:00:00Z"}`, id)))
	}
	other := send("CP17", one)
	for what, got := range map[string]any{"another message": send("CP16", later), "another charger": other} {
		if got == id {
			t.Errorf("%s: got the id %v of another start", what, got)
		}
	}
	stop("CP17", id) // it is not its own
	stop("CP16", 99999999999.0)
	if got := send("CP16", one); got != id {
		t.Errorf("again, after another charger stopped something: id %v, want %v", got, id)
	}
	stop("CP16", id)
	stop("CP16", id)
	if got := send("CP16", one); got == id {
		t.Errorf("the same message in earnest, after the transaction was stopped: id %v again", got)
	}
	if got := send("CP17", one); got != other {
		t.Errorf("another charger's start, again: id %v, want %v", got, other)
	}
}

// A start that gets no id is not answered: it is to come again.
func TestStartWithoutCounter(t *testing.T) {
	c := testCentral(t)
	c.transactions.dir = t.TempDir() + "/gone"
	c.transactions.next = c.transactions.end
	b, err := c.serve(delivery{identity: "CP16", payload: []byte(call("StartTransaction", requests16["StartTransaction"]))})
	if err == nil || b != nil {
		t.Errorf("answered %s, error %v", b, err)
	}
}
