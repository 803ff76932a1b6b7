package relay

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestScanMessage(t *testing.T) {
	for _, tt := range []struct {
		message string
		kind    int
		id      string // "-": not understood
	}{
		{`[2,"a","Heartbeat",{}]`, 2, "a"},
		{"\t[\r\n3 , \"a b\" , {}]", 3, "a b"},
		{`[4,"","",`, 4, ""},
		{`[3,"a"`, 3, "a"},
		{`[3,"a"garbage`, 3, "a"},
		{`[3,"\"\\\u00fc\ud83d\ude00"`, 3, `"\ü😀`},
		{`[6,"ü",`, 6, "ü"},
		{`[3,"` + strings.Repeat("😀", 36) + `",{}]`, 3, strings.Repeat("😀", 36)},
		{`[3,"` + strings.Repeat(`\ud83d\ude00`, 36) + `",{}]`, 3, strings.Repeat("😀", 36)},
		{`[3,"` + strings.Repeat("x", 37) + `",{}]`, 0, "-"},
		{`[3,"` + strings.Repeat(`\u0061`, 73), 0, "-"},
		{`[3,"` + strings.Repeat("x", 1<<20), 0, "-"},
		{strings.Repeat(" ", 1<<20), 0, "-"},
		{`[3,"a\`, 0, "-"},
		{`[3,"\x",{}]`, 0, "-"},
		{`[3,5,{}]`, 0, "-"},
		{`[33,"a",{}]`, 0, "-"},
		{`[3.0,"a",{}]`, 0, "-"},
		{`["3","a",{}]`, 0, "-"},
		{`{"3":"a"}`, 0, "-"},
		{`[`, 0, "-"},
		{`[3`, 0, "-"},
		{`[3,`, 0, "-"},
		{``, 0, "-"},
		{"\xef\xbb\xbf[3,\"a\",{}]", 3, "a"},
		{" \xef\xbb\xbf\x00\x00\r\n[3,\"a\",{}]\x00", 3, "a"},
		{"\xef\xbb[3,\"a\",{}]", 0, "-"},
		{"[\x003,\"a\",{}]", 0, "-"},
	} {
		kind, id, ok := scanMessage([]byte(tt.message))
		if ok != (tt.id != "-") || ok && (kind != tt.kind || id != tt.id) {
			t.Errorf("%.100q: %d, %q, %v", tt.message, kind, id, ok)
		}
	}
}

func TestScanAction(t *testing.T) {
	for message, want := range map[string]string{
		`[2,"a","StartTransaction",{}]`:                   "StartTransaction",
		` [ 6 , "a" , "NotifyPeriodicEventStream" , {} ]`: "NotifyPeriodicEventStream",
		`[3,"a",{}]`:                     "",
		`[2,"a"]`:                        "",
		`[2,"a",5,{}]`:                   "",
		`[2,"a","Boot` + "\\n" + `",{}]`: "",
		`[2,"a","` + strings.Repeat("x", 65) + `",{}]`: "",
		`[2,"a","Heartbeat",{}`:                        "",
		``:                                             "",
	} {
		if got := scanAction([]byte(message)); got != want {
			t.Errorf("%.80s: %q, want %q", message, got, want)
		}
	}
}

// What is JSON is read as encoding/json reads it; nothing else matters, but
// nothing else does any harm.
func FuzzScanMessage(f *testing.F) {
	for _, s := range []string{`[2,"a","Heartbeat",{}]`, `[3,"\u00fc\ud83d\ude00",{}]`, " [ 4 , \"x\\\"\" ,\"\",\"\",{}]", `[3,"a`, `[5,"\ud800","",{}]`, `[6,"ü",[],{}]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		kind, id, ok := scanMessage(b)
		if ok && (kind < 0 || kind > 9 || utf8.RuneCountInString(id) > maxMessageID) {
			t.Fatalf("%d, %q", kind, id)
		}
		if _, err := checkCall(b); err == nil && (!ok || kind != ocppCall || !json.Valid(b)) {
			t.Fatalf("a CALL whose id would not be found: %q", b)
		}
		var parts []json.RawMessage
		if !utf8.Valid(b) || json.Unmarshal(b, &parts) != nil || len(parts) < 2 {
			return
		}
		var want string
		simple := len(parts[0]) == 1 && parts[0][0] >= '0' && parts[0][0] <= '9' && parts[1][0] == '"'
		if simple {
			simple = json.Unmarshal(parts[1], &want) == nil && utf8.RuneCountInString(want) <= maxMessageID
		}
		if ok != simple || ok && (id != want || kind != int(parts[0][0]-'0')) {
			t.Fatalf("%q: %d, %q, %v; it is %q, %v", b, kind, id, ok, want, simple)
		}
	})
}

func BenchmarkScanMessage(b *testing.B) {
	message := []byte(`[3,"9f6c2d5e8b1a4f7091d2c3b4a5968778",{"status":"Accepted"}]`)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, ok := scanMessage(message); !ok {
			b.Fatal("not understood")
		}
	}
}
