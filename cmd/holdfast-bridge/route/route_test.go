package route

import (
	"strings"
	"testing"
)

func TestAddress(t *testing.T) {
	for _, tt := range []struct{ value, identity, want string }{
		{"* ws://cs:9000/ocpp/{identity}", "CP1", "ws://cs:9000/ocpp/CP1"},
		{"* ws://cs/{identity}/x", "a b/ü?#%", "ws://cs/a%20b%2F%C3%BC%3F%23%25/x"},
		{"* wss://cs/ocpp?id={identity}&v=1", "a b&=+", "wss://cs/ocpp?id=a+b%26%3D%2B&v=1"},
	} {
		r, err := Parse(tt.value)
		if err != nil {
			t.Error(err)
		} else if got := r.Address(tt.identity); got != tt.want {
			t.Errorf("%s: %s is at %s, want %s", tt.value, tt.identity, got, tt.want)
		}
	}
}

func TestFind(t *testing.T) {
	var s Set
	for _, value := range []string{"A* ws://a/{identity}", "B?,subprotocol=ocpp1.6|ocpp2.0.1 ws://b/{identity}", "* ws://rest/{identity}"} {
		r, err := Parse(value)
		if err != nil {
			t.Fatal(err)
		}
		s.Routes = append(s.Routes, r)
	}
	if err := s.Check(); err != nil {
		t.Error(err)
	}
	for charger, want := range map[string]string{
		"A1 ocpp1.6": "ws://a/{identity}", "B1 ocpp2.0.1": "ws://b/{identity}", "B1 ocpp2.1": "ws://rest/{identity}", "B12 ocpp1.6": "ws://rest/{identity}", "x/y ocpp1.6": "ws://rest/{identity}",
	} {
		identity, subprotocol, _ := strings.Cut(charger, " ")
		if r, found := s.Find(identity, subprotocol); !found || r.URL != want {
			t.Errorf("%s goes to %q, want %q", charger, r.URL, want)
		}
	}
	s.Routes[0], s.Routes[2] = s.Routes[2], s.Routes[0]
	if err := s.Check(); err == nil {
		t.Error("routes behind one that takes all pass")
	}
}

func TestMirror(t *testing.T) {
	m, err := ParseMirror("A* ws://b/{identity},calls=Reset|TriggerMessage,answers=Authorize,main")
	if err != nil || !m.Allows("Reset") || m.Allows("UnlockConnector") || !m.Decides("Authorize") || m.Decides("Heartbeat") || !m.Main || m.URL != "ws://b/{identity}" {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestFaults(t *testing.T) {
	for value, why := range map[string]string{
		"":                                        "must be GLOB",
		"ws://x/{identity}":                       "must be GLOB",
		"[ ws://x/{identity}":                     "no glob",
		"*,sub=1 ws://x/{identity}":               "may come ,subprotocol=",
		"*,subprotocol= ws://x/{identity}":        "may come ,subprotocol=",
		"* http://x/{identity}":                   "must begin with ws",
		"* ws:///{identity}":                      "without a host",
		"* ws://x/ocpp/":                          "such as ws://x/ocpp/{identity}",
		"* ws://{identity}.x/":                    "in the path and the query only",
		"* ws://u:secret@x/{identity}":            "use upstream-auth",
		"* ws://x/{identity}#a":                   "fragment",
		"* ws://x/{identity} ws://y/{identity}":   "white space",
		"* ws://x:port/{identity}":                "invalid port",
		"* ws://x/%zz/{identity}":                 "invalid URL escape",
		"mirror * ws://x/{identity},calls=":       "behind the URL may come",
		"mirror * ws://x/{identity},everything":   "behind the URL may come",
		"mirror * ws://x/,calls=Reset":            "does not say where",
		"mirror ws://x/{identity},answers=Boot|x": "must be GLOB",
	} {
		var err error
		if rest, mirror := strings.CutPrefix(value, "mirror "); mirror {
			_, err = ParseMirror(rest)
		} else {
			_, err = Parse(value)
		}
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v, want %q", value, err, why)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the password is shown: %v", value, err)
		}
	}
}
