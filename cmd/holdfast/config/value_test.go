package config

import (
	"net/netip"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestValues(t *testing.T) {
	var (
		text   string
		yes    bool
		n      int
		d      time.Duration
		choice string
		all    []string
		addr   string
	)
	for _, tt := range []struct {
		value Value
		good  []string
		bad   []string
		last  func() bool // whether the last good one has arrived
	}{
		{Text(&text), []string{"", " a b "}, nil, func() bool { return text == " a b " }},
		{Boolean(&yes), []string{"false", "no", "off", "true", "yes", "on"}, []string{"", "1", "True"}, func() bool { return yes }},
		{Number(&n, -1, 5), []string{"-1", "5"}, []string{"", "-2", "6", "0x1", "1.0", "99999999999999999999"}, func() bool { return n == 5 }},
		{
			size{&n, 1 << 10, 64 << 20},
			[]string{"1024", "1KiB", "64MiB", "3MiB"},
			[]string{"", "1023", "65MiB", "1MB", "1 MiB", "-1KiB", "1GiB", "9999999999999GiB", "KiB"},
			func() bool { return n == 3<<20 },
		},
		{Duration(&d, time.Second, time.Minute), []string{"1s", "1m", "1500ms"}, []string{"", "5", "999ms", "61s", "-2s"}, func() bool { return d == 1500*time.Millisecond }},
		{autoDuration{&d}, []string{"0s", "24h", "3 ping intervals"}, []string{"25h", "soon"}, func() bool { return d == automatic }},
		{ChoiceValue{&choice, []string{"a", "b"}}, []string{"a", "b"}, []string{"", "c", "A"}, func() bool { return choice == "b" }},
		{list{&all}, []string{"ocpp2.1, ocpp1.6"}, []string{"", "a,", "a b", "x;y", "ocpp1.6"}, func() bool { return len(all) >= 2 && all[1] == "ocpp1.6" }},
		{address{&addr}, []string{":8887", "127.0.0.1:0", "[::1]:443"}, []string{"", "8887", "localhost:80", ":99999", "1.2.3:4"}, func() bool { return true }},
	} {
		for _, s := range tt.good {
			if err := tt.value.Set(s); err != nil {
				t.Errorf("%T %q: %v", tt.value, s, err)
			}
		}
		if !tt.last() {
			t.Errorf("%T: %q did not arrive", tt.value, tt.good[len(tt.good)-1])
		}
		for _, s := range tt.bad {
			if err := tt.value.Set(s); err == nil {
				t.Errorf("%T takes %q", tt.value, s)
			}
		}
	}
}

func TestPaths(t *testing.T) {
	var all []string
	for _, s := range []string{"/ocpp/", "/", "/ocpp/", "/a/b/"} {
		if err := (paths{&all}).Set(s); err != nil {
			t.Error(s, err)
		}
	}
	if got := strings.Join(all, " "); got != "/ocpp/ / /a/b/" {
		t.Errorf("%q", got)
	}
	for _, s := range []string{"", "ocpp/", "/ocpp", "/a b/", "/a%20b/", "/a?/", "http://x/"} {
		if err := (paths{&all}).Set(s); err == nil {
			t.Errorf("%q is taken", s)
		}
	}
}

func TestListeners(t *testing.T) {
	for _, tt := range []struct {
		text  string
		tls   bool
		want  Listener
		fault string
	}{
		{":1", false, Listener{Address: ":1"}, ""},
		{":1,auth=file", false, Listener{Address: ":1", Auth: "file"}, ""},
		{":1,client-auth=required,auth=none", true, Listener{Address: ":1", TLS: true, Auth: "none", ClientAuth: "required"}, ""},
		{":1,allow-from=10.0.0.0/8,allow-from=2001:db8::1,proxy-protocol=required", false, Listener{Address: ":1", Proxy: true, AllowFrom: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::1/128")}}, ""},
		{":1,allow-from=10.0.0.1/8", false, Listener{}, "allow-from: 10.0.0.1/8 has bits behind its length"},
		{":1,allow-from=", false, Listener{}, "is no address"},
		{":1,proxy-protocol=optional", false, Listener{}, "proxy-protocol: want required"},
		{":1,auth=", false, Listener{}, "auth: want one of none, file, processor"},
		{":1,", false, Listener{}, `"" cannot be set`},
		{":1,client-auth=required", false, Listener{}, `"client-auth" cannot be set`},
		{"here", false, Listener{}, "want address:port"},
	} {
		var all []Listener
		err := listeners{to: &all, tls: tt.tls}.Set(tt.text)
		switch {
		case tt.fault != "":
			if err == nil || !strings.Contains(err.Error(), tt.fault) {
				t.Errorf("%q: %v, want %q", tt.text, err, tt.fault)
			}
		case err != nil || len(all) != 1 || !reflect.DeepEqual(all[0], tt.want):
			t.Errorf("%q: %+v, %v", tt.text, all, err)
		}
	}
	var all []Listener
	if err := (listeners{to: &all}).Set("none"); err != nil || len(all) > 0 {
		t.Errorf("none: %v, %v", all, err)
	}
	if (Listener{}).Option() != "listen" || (Listener{TLS: true}).Option() != "listen-tls" {
		t.Error("a listener does not know its option")
	}
}

func TestLookupGroup(t *testing.T) {
	own := os.Getgid()
	if gid, err := LookupGroup(strconv.Itoa(own)); err != nil || gid != own {
		t.Error(gid, err)
	}
	for _, s := range []string{"", "-1", "no such group"} {
		if gid, err := LookupGroup(s); err == nil {
			t.Errorf("%q is %d", s, gid)
		}
	}
}
