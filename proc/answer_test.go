package proc

import (
	"errors"
	"strings"
	"testing"
)

// What stands around an answer counts for nothing; of one that is no OCPP the bytes
// are in the error.
func TestParseAnswer(t *testing.T) {
	for _, answer := range []string{
		`[3,"a",{"b":1}]`, "\xef\xbb\xbf[3,\"a\",{\"b\":1}]", "\x00 \n\xef\xbb\xbf\x00[3,\"a\",{\"b\":1}]\x00\r\n\x00",
	} {
		if got, err := parseAnswer([]byte(answer)); err != nil || string(got) != `{"b":1}` {
			t.Errorf("%q: %s, %v", answer, got, err)
		}
	}
	for _, answer := range []string{
		"", "\x00", `[3,"a",{"b":"1` + "\x00" + `"}]`, `[3,"a",{"b`, `[3,"a",{"b":"` + "\xe4", `[3,"a"]`, `[2,"a","Reset",{}]`, `[4,"a",5]`, strings.Repeat("[", 5000),
	} {
		_, err := parseAnswer([]byte(answer))
		bad, ok := errors.AsType[*AnswerError](err)
		if !ok || !errors.Is(err, ErrBadAnswer) || string(bad.Answer) != answer || bad.Why == "" || len(err.Error()) > 500 {
			t.Errorf("%.100q: %v", answer, err)
		}
	}
}
