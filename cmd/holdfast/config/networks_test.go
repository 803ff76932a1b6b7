package config

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func TestNetworks(t *testing.T) {
	for _, tt := range []struct{ value, want, fault string }{
		{"10.0.0.0/8", "[10.0.0.0/8]", ""},
		{"192.0.2.1, 2001:db8::/32,::1", "[192.0.2.1/32 2001:db8::/32 ::1/128]", ""},
		{"::ffff:192.0.2.1", "[192.0.2.1/32]", ""}, // or it would match nothing
		{"fe80::1%eth0", "[fe80::1/128]", ""},
		{"0.0.0.0/0", "[0.0.0.0/0]", ""},
		{"10.0.0.1/8", "", "is it 10.0.0.0/8?"},
		{"::ffff:10.0.0.0/104", "", "write it as IPv4"},
		{"10.0.0.0/33", "", "no network such as"},
		{"balancer", "", "no network such as"},
		{"", "", "no network such as"},
		{"10.0.0.0/8,", "", "no network such as"},
	} {
		var got []netip.Prefix
		err := networks{&got}.Set(tt.value)
		if tt.fault != "" && (err == nil || !strings.Contains(err.Error(), tt.fault)) || tt.fault == "" && (err != nil || fmt.Sprint(got) != tt.want) {
			t.Errorf("%q: %v, %v", tt.value, got, err)
		}
	}
}
