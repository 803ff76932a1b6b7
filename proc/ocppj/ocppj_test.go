package ocppj

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]Message{
		`[2,"a","Heartbeat",{}]`:                 {Type: Call, ID: "a", Action: "Heartbeat", Payload: json.RawMessage(`{}`)},
		` [ 3 , "ü" , {"x":[1]} ] `:              {Type: CallResult, ID: "ü", Payload: json.RawMessage(`{"x":[1]}`)},
		`[4,"a","NotSupported","why",{"d":1}]`:   {Type: CallError, ID: "a", Code: "NotSupported", Description: "why", Details: json.RawMessage(`{"d":1}`)},
		`[5,"a","FormatViolation","",{}]`:        {Type: CallResultError, ID: "a", Code: "FormatViolation", Details: json.RawMessage(`{}`)},
		`[6,"a","NotifyPeriodicEventStream",{}]`: {Type: Send, ID: "a", Action: "NotifyPeriodicEventStream", Payload: json.RawMessage(`{}`)},
	} {
		if m, err := Parse([]byte(text)); err != nil || fmt.Sprint(m) != fmt.Sprint(want) {
			t.Errorf("%s is %+v, %v", text, m, err)
		}
	}
	for text, element := range map[string]int{
		``: -1, `{}`: -1, `[]`: -1, `[2,"a"]`: -1, `[2,"a","b"]`: -1, `[3,"a",{},1]`: -1, `[2,"a","b",{}`: -1,
		`[7,"a",{}]`: 0, `["2","a","b",{}]`: 0, `[2.5,"a","b",{}]`: 0, `[2,1,"b",{}]`: 1, `[2,null,"b",{}]`: 1,
		`[2,"a",null,{}]`: 2, `[2,"a","b",[]]`: 3, `[3,"a",null]`: 2, `[4,"a",1,"",{}]`: 2, `[4,"a","b",null,{}]`: 3, `[4,"a","b","",""]`: 4,
	} {
		var at *SyntaxError
		if m, err := Parse([]byte(text)); !errors.As(err, &at) || at.Element != element {
			t.Errorf("%s is %+v, %v; want a fault of element %d", text, m, err, element)
		}
	}
}

func TestBuild(t *testing.T) {
	call := Message{Type: Call, ID: "a\"b"}
	for _, tt := range []struct {
		b    []byte
		err  error
		want string
	}{
		wrap(call.Result(map[string]int{"n": 1}))(`[3,"a\"b",{"n":1}]`),
		wrap(call.Result(json.RawMessage(`{"raw":true}`)))(`[3,"a\"b",{"raw":true}]`),
		wrap(call.Error("NotImplemented", "no", nil))(`[4,"a\"b","NotImplemented","no",{}]`),
		wrap(NewCall("1", "Reset", map[string]string{"type": "Soft"}))(`[2,"1","Reset",{"type":"Soft"}]`),
		wrap(NewSend("1", "X", struct{}{}))(`[6,"1","X",{}]`),
		wrap(call.Result(nil))(""), wrap(call.Result([]int{1}))(""), wrap(call.Result(func() {}))(""), wrap(call.Error("x", "y", 5))(""),
		wrap(NewCall("", "Reset", struct{}{}))(""), wrap(NewCall("1234567890123456789012345678901234567", "Reset", struct{}{}))(""),
		wrap(NewCall("1", "", struct{}{}))(""),
	} {
		if string(tt.b) != tt.want || (tt.err == nil) == (tt.want == "") {
			t.Errorf("%s, %v; want %s", tt.b, tt.err, tt.want)
		}
	}
}

type built = struct {
	b    []byte
	err  error
	want string
}

func wrap(b []byte, err error) func(want string) built {
	return func(want string) built { return built{b, err, want} }
}

func ExampleMessage_Result() {
	m, err := Parse([]byte(`[2,"19","Heartbeat",{}]`))
	if err != nil {
		fmt.Println(err)
		return
	}
	answer, _ := m.Result(map[string]string{"currentTime": "2026-01-31T12:00:00Z"})
	fmt.Printf("%s\n", answer)
	// Output: [3,"19",{"currentTime":"2026-01-31T12:00:00Z"}]
}

// Whatever parses can be answered, and the answer parses.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`[2,"a","Heartbeat",{}]`))
	f.Add([]byte(`[4,"a","b","c",{}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b)
		if err != nil {
			return
		}
		answer, err := m.Error("InternalError", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := Parse(answer); err != nil || back.ID != m.ID {
			t.Fatalf("%s: %+v, %v", answer, back, err)
		}
	})
}
