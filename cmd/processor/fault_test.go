package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// errorCode returns the id and code of a CALLERROR, both empty of no answer.
func errorCode(t *testing.T, reply string) (id, code string) {
	t.Helper()
	if reply == "" {
		return "", ""
	}
	var parts []any
	if err := json.Unmarshal([]byte(reply), &parts); err != nil || len(parts) != 5 || parts[0] != 4.0 {
		t.Fatalf("reply %s is no CALLERROR (%v)", reply, err)
	}
	if why := parts[3].(string); why == "" || len([]rune(why)) > 255 {
		t.Errorf("description of %d characters", len([]rune(why)))
	}
	if details, ok := parts[4].(map[string]any); !ok || len(details) != 0 {
		t.Errorf("details %v", parts[4])
	}
	return parts[1].(string), parts[2].(string)
}

func TestFaults(t *testing.T) {
	c := testCentral(t, "SignCertificate")
	long := strings.Repeat("ä", 37)
	for _, tt := range []struct {
		name, message string
		id            string
		code16        string
		code2         string
	}{
		// What is no OCPP-J message.
		{"empty", ``, "-1", "FormationViolation", "RpcFrameworkError"},
		{"no JSON", `hello`, "-1", "FormationViolation", "RpcFrameworkError"},
		{"an object", `{"a":1}`, "-1", "FormationViolation", "RpcFrameworkError"},
		{"null", `null`, "-1", "FormationViolation", "RpcFrameworkError"},
		{"an empty array", `[]`, "-1", "FormationViolation", "RpcFrameworkError"},
		{"a type alone", `[2]`, "-1", "FormationViolation", "RpcFrameworkError"},
		{"id a number", `[2,17,"Heartbeat",{}]`, "-1", "FormationViolation", "RpcFrameworkError"},
		{"id too long", `[2,"` + long + `","Heartbeat",{}]`, "-1", "FormationViolation", "RpcFrameworkError"},
		{"id longest", `[2,"` + long[:72] + `","Nope",{}]`, long[:72], "NotImplemented", "NotImplemented"},
		{"type a string", `["2","m1","Heartbeat",{}]`, "m1", "FormationViolation", "RpcFrameworkError"},
		{"no payload", `[2,"m1","Heartbeat"]`, "m1", "FormationViolation", "RpcFrameworkError"},
		{"too many elements", `[2,"m1","Heartbeat",{},{}]`, "m1", "FormationViolation", "RpcFrameworkError"},
		{"action a number", `[2,"m1",5,{}]`, "m1", "FormationViolation", "RpcFrameworkError"},
		{"cut after the id", `[2,"m1"`, "m1", "FormationViolation", "RpcFrameworkError"},
		{"cut in the payload", `[2,"m1","Heartbeat",{"a":`, "m1", "FormationViolation", "FormatViolation"},
		{"payload no JSON", `[2,"m1","Heartbeat",{a}]`, "m1", "FormationViolation", "FormatViolation"},
		{"not closed", `[2,"m1","Heartbeat",{}`, "m1", "FormationViolation", "RpcFrameworkError"},
		{"more after the end", `[2,"m1","Heartbeat",{}]]`, "m1", "FormationViolation", "RpcFrameworkError"},

		// Message types.
		{"unknown type", `[9,"m1","Heartbeat",{}]`, "m1", "", "MessageTypeNotSupported"},
		{"CALLRESULT", `[3,"m1",{}]`, "", "", ""},
		{"CALLERROR", `[4,"m1","InternalError","",{}]`, "", "", ""},
		{"broken CALLRESULT", `[3,"m1",{`, "", "", ""},
		{"broken CALLERROR", `[4,17]`, "", "", ""},

		// Actions.
		{"unknown action", `[2,"m1","Teleport",{}]`, "m1", "NotImplemented", "NotImplemented"},
		{"other case", `[2,"m1","heartbeat",{}]`, "m1", "NotImplemented", "NotImplemented"},
		{"an order", `[2,"m1","Reset",{"type":"Soft"}]`, "m1", "NotSupported", "NotSupported"},
		{"turned off", `[2,"m1","SignCertificate",{"csr":"x"}]`, "m1", "NotSupported", "NotSupported"},
		{"a SEND as a CALL", `[2,"m1","NotifyPeriodicEventStream",{}]`, "m1", "NotSupported", "NotSupported"},

		// Payloads that 1.6 and 2.x have in common.
		{"payload an array", `[2,"m1","Heartbeat",[]]`, "m1", "FormationViolation", "ProtocolError"},
		{"payload null", `[2,"m1","Heartbeat",null]`, "m1", "FormationViolation", "ProtocolError"},
		{"field missing", `[2,"m1","DataTransfer",{"data":"x"}]`, "m1", "ProtocolError", "OccurrenceConstraintViolation"},
		{"field in other case", `[2,"m1","DataTransfer",{"vendorid":"x"}]`, "m1", "ProtocolError", "OccurrenceConstraintViolation"},
		{"field of other type", `[2,"m1","DataTransfer",{"vendorId":5}]`, "m1", "TypeConstraintViolation", "TypeConstraintViolation"},
		{"field null", `[2,"m1","DataTransfer",{"vendorId":null}]`, "m1", "TypeConstraintViolation", "TypeConstraintViolation"},
		{"field too long", `[2,"m1","DataTransfer",{"vendorId":"` + strings.Repeat("v", 256) + `"}]`, "m1", "PropertyConstraintViolation", "PropertyConstraintViolation"},
		{"no date", `[2,"m1","SecurityEventNotification",{"type":"t","timestamp":"yesterday"}]`, "m1", "PropertyConstraintViolation", "PropertyConstraintViolation"},
	} {
		for _, v := range []version{v16, v201, v21} {
			want := tt.code2
			if v == v16 {
				want = tt.code16
			}
			wantID := tt.id
			if want == "" {
				wantID = ""
			}
			if id, code := errorCode(t, serve(t, c, charger(v), tt.message)); code != want || id != wantID {
				t.Errorf("%s, %s: %q %q, want %q %q", tt.name, subprotocols[v], id, code, wantID, want)
			}
		}
	}
}

func TestFaultsOfOneVersion(t *testing.T) {
	c := testCentral(t)
	for _, tt := range []struct {
		name    string
		v       version
		message string
		code    string
	}{
		{"1.6 empty list", v16, call("MeterValues", `{"connectorId":1,"meterValue":[]}`), "OccurenceConstraintViolation"},
		{"2.x empty list", v201, call("MeterValues", `{"evseId":1,"meterValue":[]}`), "OccurrenceConstraintViolation"},
		{"inside a list", v21, call("MeterValues", `{"evseId":1,"meterValue":[{"timestamp":"2026-01-31T12:00:00Z","sampledValue":[{}]}]}`), "OccurrenceConstraintViolation"},
		{"list of others", v16, call("MeterValues", `{"connectorId":1,"meterValue":[7]}`), "TypeConstraintViolation"},
		{"inside an object", v201, call("BootNotification", `{"reason":"PowerUp","chargingStation":{"model":"M"}}`), "OccurrenceConstraintViolation"},
		{"integer with a fraction", v16, call("StopTransaction", `{"transactionId":1.5,"meterStop":1,"timestamp":"2026-01-31T12:00:00Z"}`), "TypeConstraintViolation"},
		{"unknown value", v16, call("StatusNotification", `{"connectorId":1,"errorCode":"NoError","status":"Sleeping"}`), "PropertyConstraintViolation"},
		{"1.6 action in 2.0.1", v201, call("StartTransaction", requests16["StartTransaction"]), "NotSupported"},
		{"2.0.1 action in 1.6", v16, call("TransactionEvent", requests201["TransactionEvent"]), "NotSupported"},
		{"2.1 action in 2.0.1", v201, call("BatterySwap", requests21["BatterySwap"]), "NotSupported"},
		{"2.0.1 SEND", v201, `[6,"m1","NotifyPeriodicEventStream",{}]`, "MessageTypeNotSupported"},
		{"1.6 SEND", v16, `[6,"m1","NotifyPeriodicEventStream",{}]`, ""},
		{"2.1 SEND", v21, `[6,"m1","NotifyPeriodicEventStream",{"id":1}]`, ""},
		{"2.1 SEND, broken", v21, `[6,"m1",{`, ""},
		{"2.1 CALLRESULTERROR", v21, `[5,"m1","InternalError","",{}]`, ""},
		{"unknown version, of 1.6", unknownVersion, call("StartTransaction", `{}`), "ProtocolError"},
		{"unknown version, of 2.0.1", unknownVersion, call("TransactionEvent", `{}`), "OccurrenceConstraintViolation"},
	} {
		if _, code := errorCode(t, serve(t, c, charger(tt.v), tt.message)); code != tt.code {
			t.Errorf("%s: %q, want %q", tt.name, code, tt.code)
		}
	}
}

// Each required field of each action: left out, and of another type.
func TestEveryRequiredField(t *testing.T) {
	c := testCentral(t)
	for v, table := range actions {
		for name, a := range table {
			for _, f := range a.needs {
				var fields map[string]any
				if err := json.Unmarshal([]byte(requests[v][name]), &fields); err != nil {
					t.Fatal(err)
				}
				refused := func(value any, want code) {
					t.Helper()
					fields[f.name] = value
					if value == nil {
						delete(fields, f.name)
					}
					payload, _ := json.Marshal(fields)
					if _, code := errorCode(t, serve(t, c, charger(v), call(name, string(payload)))); code != want.in(v) {
						t.Errorf("%s %s with %s %v: %q, want %q", subprotocols[v], name, f.name, value, code, want.in(v))
					}
				}
				refused(nil, missing)
				switch f.kind {
				case kindText, kindDate:
					refused(12, wrongType)
				default:
					refused("12", wrongType)
				}
			}
		}
	}
}

func TestBinary(t *testing.T) {
	c := testCentral(t)
	b, err := c.serve(delivery{identity: "CP21", payload: []byte(call("Heartbeat", `{}`)), binary: true})
	if id, code := errorCode(t, string(b)); err != nil || id != "-1" || code != "RpcFrameworkError" {
		t.Errorf("%q %q %v", id, code, err)
	}
}

// An id goes back as it came, whatever it is made of.
func TestIDIsEchoed(t *testing.T) {
	c := testCentral(t)
	for _, id := range []string{`""`, `"a\"b"`, `"\u0041"`, `"<&>"`, `"ä\ud83d\ude00"`} {
		reply := serve(t, c, "CP16", ` [ 2 , `+id+` , "Heartbeat" , { } ] `)
		var want, got any
		var parts []json.RawMessage
		if err := json.Unmarshal([]byte(reply), &parts); err != nil || len(parts) != 3 {
			t.Fatalf("%s: %s", id, reply)
		}
		_ = json.Unmarshal([]byte(id), &want)
		_ = json.Unmarshal(parts[1], &got)
		if got != want {
			t.Errorf("id %s came back as %s", id, parts[1])
		}
	}
}

func FuzzServe(f *testing.F) {
	ids := newTransactions("", 16)
	ids.next, ids.end = 1, 1<<30
	c := newCentral(ids, 1, nil, discard)
	for v, table := range requests {
		c.opened(charger(v), subprotocols[v])
		for name, payload := range table {
			f.Add(int(v), []byte(call(name, payload)))
		}
	}
	f.Add(1, []byte(`[2,"m1","Heartbeat",{a`))
	f.Fuzz(func(t *testing.T, v int, message []byte) {
		reply, err := c.serve(delivery{identity: charger(version(v & 3)), payload: message})
		if err != nil {
			t.Fatal(err)
		}
		if len(reply) > 0 && !json.Valid(reply) {
			t.Errorf("%q answered with %q", message, reply)
		}
	})
}
