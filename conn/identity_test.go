package conn

import (
	"errors"
	"strings"
	"testing"
)

func TestTargets(t *testing.T) {
	prefixes := []string{"/ocpp/", "/ocpp/v2/", "/c/"}
	long := strings.Repeat("x", MaxIdentity)
	for _, tt := range []struct {
		target, prefix, identity string
		fault                    string // "": none, "path", "identity"
	}{
		{"/ocpp/CP-1", "/ocpp/", "CP-1", ""},
		{"/ocpp/CP-1/", "/ocpp/", "CP-1", ""},
		{"/ocpp/CP-1?token=a/b", "/ocpp/", "CP-1", ""},
		{"/ocpp/CP-1/?x", "/ocpp/", "CP-1", ""},
		{"/ocpp/v2/CP-1", "/ocpp/v2/", "CP-1", ""},
		{"/ocpp/v2", "/ocpp/", "v2", ""},
		{"/c/a+b", "/c/", "a+b", ""},
		{"/c/a%20b", "/c/", "a b", ""},
		{"/c/a%2Bb%3F", "/c/", "a+b?", ""},
		{"/c/%D0%96", "/c/", "Ж", ""},
		{"/c/%e6%97%a5", "/c/", "日", ""},
		{"/c/" + long, "/c/", long, ""},
		{"/c/" + strings.Repeat("%41", MaxIdentity), "/c/", strings.Repeat("A", MaxIdentity), ""},
		{"ws://gateway:8887/c/CP-1", "/c/", "CP-1", ""},
		{"http://gateway/c/CP-1?x", "/c/", "CP-1", ""},
		{"/c/http://x", "", "", "path"},

		{"/", "", "", "path"},
		{"", "", "", "path"},
		{"*", "", "", "path"},
		{"/ocpp", "", "", "path"},
		{"/OCPP/CP-1", "", "", "path"},
		{"/ocpp/a/b", "", "", "path"},
		{"/ocpp//CP-1", "", "", "path"},
		{"/ocpp/CP-1//", "", "", "path"},
		{"//ocpp/CP-1", "", "", "path"},
		{"/ocpp/../c/CP-1", "", "", "path"},
		{"http://gateway", "", "", "path"},

		{"/ocpp/", "", "", "identity"},
		{"/ocpp/?CP-1", "", "", "identity"},
		{"/ocpp//", "", "", "identity"}, // missing
		{"/c/" + long + "x", "", "", "identity"},
		{"/c/" + strings.Repeat("%D0%96", 128), "", "", "identity"}, // 128 runes of 2 bytes
		{"/c/a%2Fb", "", "", "identity"},
		{"/c/%00", "", "", "identity"},
		{"/c/%0A", "", "", "identity"},
		{"/c/%7F", "", "", "identity"},
		{"/c/%C2%85", "", "", "identity"},    // a C1 control
		{"/c/%E2%80%AE", "", "", "identity"}, // right-to-left override
		{"/c/%ff", "", "", "identity"},
		{"/c/%ED%A0%80", "", "", "identity"}, // a surrogate
		{"/c/%zz", "", "", "identity"},
		{"/c/a%2", "", "", "identity"},
	} {
		prefix, identity, err := splitTarget(tt.target, prefixes, 0)
		fault := ""
		if errors.Is(err, errPath) {
			fault = "path"
		} else if err != nil {
			fault = "identity"
		}
		if fault != tt.fault {
			t.Errorf("%.60q: %v; want a fault of %q", tt.target, err, tt.fault)
		} else if fault == "" && (prefix != tt.prefix || identity != tt.identity) {
			t.Errorf("%.60q: got %q, %q; want %q, %q", tt.target, prefix, identity, tt.prefix, tt.identity)
		}
	}
}
