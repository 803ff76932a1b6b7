package bridge

import (
	"strings"
	"sync"
	"testing"
)

func TestParseHead(t *testing.T) {
	for message, want := range map[string]head{
		`[2,"a","Reset",{}]`: {2, "a", "Reset"},
		"\xef\xbb\xbf \x00[ 2 , \"ü\\\"\\u0041\" , \"Boot\" , {\"cut": {2, "ü\"A", "Boot"},
		`[3,"a",{}]`:                  {3, "a", ""},
		`[4,"-1","GenericError"]`:     {4, "-1", ""},
		`[5,"a","x","",{}]`:           {5, "a", ""},
		`[6,"a","NotifyPeriodic",{}]`: {6, "a", "NotifyPeriodic"},
		`[2,"a"]`:                     {},
		`[2,"a",5,{}]`:                {},
		`[2,"a","",{}]`:               {},
		`[2,5,"Reset",{}]`:            {},
		`[1,"a","Reset",{}]`:          {},
		`[7,"a","Reset",{}]`:          {},
		`[22,"a","Reset",{}]`:         {},
		`[2,"a`:                       {},
		"[2,\"\xff\",\"Reset\",{}]":   {},
		`{"a":1}`:                     {},
		"":                            {},
		"[":                           {},
		"[2":                          {},
		`[2,"\`:                       {},
		strings.Repeat("[", 10000):    {},
		`[2,"a\x","Reset",{}]`:        {},
	} {
		if got := parseHead([]byte(message)); got != want {
			t.Errorf("%.60q: %+v, want %+v", message, got, want)
		}
	}
}

func TestWithID(t *testing.T) {
	if got, ok := withID([]byte("\x00[2,\"a\",\"Reset\",{\"b\":1.50}]\x00"), `"`); !ok || string(got) != `[2,"\"","Reset",{"b":1.50}]` {
		t.Errorf("%s", got)
	}
	for _, bad := range []string{`[2,"a`, `[3,"a",{"b":"c` + "\x00" + `"}]`, `{}`} {
		if got, ok := withID([]byte(bad), "b"); ok {
			t.Errorf("%q became %s", bad, got)
		}
	}
}

func TestNotes(t *testing.T) {
	if n, ok := parseNote(note{Authorization: "Basic x"}.encode()); !ok || n.Authorization != "Basic x" {
		t.Errorf("%+v, %v", n, ok)
	}
	for _, b := range []string{"", "tenant 7", `{"v":2,"authorization":"x"}`, `{}`, "null"} {
		if n, ok := parseNote([]byte(b)); ok || n.Authorization != "" {
			t.Errorf("%q is taken for %+v", b, n)
		}
	}
	if got := basic([]byte("CP:1"), []byte("a\xff")); got != "Basic Q1A6MTph/w==" {
		t.Error(got)
	}
}

// One function at a time, in order, whoever asks; do returns when its own has run.
func TestMailbox(t *testing.T) {
	var m mailbox
	var all sync.WaitGroup
	ran, inside := 0, false
	step := func() {
		if inside {
			t.Error("two run at once")
		}
		inside = true
		ran++
		inside = false
	}
	for i := range 8 {
		all.Go(func() {
			for n := range 2000 {
				if (n+i)%3 == 0 {
					m.post(step)
					continue
				}
				had := false
				m.do(func() { step(); had = true })
				if !had {
					t.Error("do has returned before")
				}
			}
		})
	}
	all.Wait()
	m.do(func() {})
	if ran != 16000 {
		t.Errorf("%d of 16000 have run", ran)
	}
	var order []int
	for i := range 100 {
		m.post(func() { order = append(order, i) })
	}
	m.do(func() {})
	for i, n := range order {
		if i != n {
			t.Fatalf("in the order %v", order)
		}
	}
}
