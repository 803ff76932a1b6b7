package forwarded

import (
	"net/http"
	"net/netip"
	"testing"
)

func TestClient(t *testing.T) {
	peer := netip.MustParseAddrPort("10.0.0.1:5000")
	trusted := netip.MustParsePrefix("10.0.0.0/8").Contains
	for _, tt := range []struct {
		name string
		is   []string
		want string
	}{
		{XForwardedFor, nil, "10.0.0.1:5000"},
		{XForwardedFor, []string{"192.0.2.7"}, "192.0.2.7:0"},
		{XForwardedFor, []string{"192.0.2.7:4711"}, "192.0.2.7:4711"},
		{XForwardedFor, []string{"2001:db8::7"}, "[2001:db8::7]:0"},
		{XForwardedFor, []string{"[2001:db8::7]:4711"}, "[2001:db8::7]:4711"},
		{XForwardedFor, []string{"::ffff:192.0.2.7"}, "192.0.2.7:0"},
		{XForwardedFor, []string{"1.2.3.4, 192.0.2.7"}, "192.0.2.7:0"}, // the first is a claim
		{XForwardedFor, []string{"1.2.3.4", "192.0.2.7 , 10.0.0.2"}, "192.0.2.7:0"},
		{XForwardedFor, []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3:0"}, // a proxy asks itself
		{XForwardedFor, []string{"192.0.2.7, unknown"}, "10.0.0.1:5000"},
		{XForwardedFor, []string{"192.0.2.7, unknown, 10.0.0.2"}, "10.0.0.2:0"},
		{XForwardedFor, []string{"192.0.2.7,"}, "10.0.0.1:5000"},
		{XForwardedFor, []string{"0.0.0.0"}, "10.0.0.1:5000"},
		{XForwardedFor, []string{"::"}, "10.0.0.1:5000"},
		{Forwarded, []string{"for=192.0.2.7"}, "192.0.2.7:0"},
		{Forwarded, []string{`For="[2001:db8::7]:4711"; proto=https ;by=10.0.0.9`}, "[2001:db8::7]:4711"},
		{Forwarded, []string{`for=1.2.3.4, proto=http;for="192.0.2.7:80"`}, "192.0.2.7:80"},
		{Forwarded, []string{`for=_hidden`}, "10.0.0.1:5000"},
		{Forwarded, []string{`proto=http`}, "10.0.0.1:5000"},
		{Forwarded, []string{`for="`}, "10.0.0.1:5000"},
	} {
		other := map[string]string{XForwardedFor: Forwarded, Forwarded: XForwardedFor}[tt.name]
		h := http.Header{tt.name: tt.is, other: {"for=9.9.9.9"}}
		if got := Client(h, tt.name, peer, trusted); got.String() != tt.want {
			t.Errorf("%s %q: %v, want %s", tt.name, tt.is, got, tt.want)
		}
	}
}
