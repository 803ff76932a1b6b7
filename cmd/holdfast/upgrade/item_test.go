package upgrade

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/cmd/holdfast/item"
	"holdfast/relay"
	"holdfast/unixipc"
	"holdfast/unixipc/handoff"
)

func TestItems(t *testing.T) {
	for _, tt := range []struct {
		kind          itemKind
		loop          int
		first, second string
	}{
		{itemLink, 0, "link", ""},
		{itemCharger, 255, "connection", "charger"},
		{itemOffline, 1, "", "charger"},
		{itemCharger, 1, strings.Repeat("x", 300), strings.Repeat("y", 1000)},
	} {
		b := item.Append([]byte("before"), tt.kind, tt.loop, []byte(tt.first), []byte(tt.second))
		b = bytes.TrimPrefix(b, []byte("before"))
		kind, loop, first, second, err := item.Parse(b)
		if err != nil || kind != tt.kind || loop != tt.loop || string(first) != tt.first || string(second) != tt.second {
			t.Errorf("%q became %v %d %q %q, %v", b, kind, loop, first, second, err)
		}
	}
	for _, b := range []string{"", "l", "l\x00", "l\x00\x05four", "l\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"} {
		if _, _, _, _, err := item.Parse([]byte(b)); err == nil {
			t.Errorf("%q is an item", b)
		}
	}
}

func TestFrozen(t *testing.T) {
	at := time.Now()
	_, _, first, second, err := item.Parse(appendFrozen(nil, at, []byte("counters")))
	if err != nil || string(second) != "counters" {
		t.Fatalf("%q, %v", second, err)
	}
	if got, err := parseFrozen(first); err != nil || !got.Equal(at) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := parseFrozen(first[:7]); err == nil {
		t.Error("7 bytes are a time")
	}
}

func TestLastLinks(t *testing.T) {
	want := []uint32{0, 1, 300, 1<<32 - 1}
	_, _, first, _, err := item.Parse(appendLastLinks(nil, want))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := parseLastLinks(first); err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	for _, b := range []string{"\x80", "\xff\xff\xff\xff\xff\x01"} {
		if _, err := parseLastLinks([]byte(b)); err == nil {
			t.Errorf("%q are ids", b)
		}
	}
}

// What a processor relies on is not left out for a new process that does not know it.
func TestFeaturesAreRefusedByName(t *testing.T) {
	r := relay.New(relay.Config{Loops: 1, Window: 10, MaxWindow: 10, ChargerWindow: 16}, nobody{})
	plain := r.Join(unixipc.HelloBody{Name: "p"}, false)
	ordered := r.Join(unixipc.HelloBody{Name: "q", ChargerWindow: 1}, false)
	older := handoff.Hello{Program: "v1.2.3"}
	if err := checkFeatures(older, plain); err != nil {
		t.Error(err)
	}
	err := checkFeatures(older, ordered)
	if err == nil || !strings.Contains(err.Error(), "v1.2.3") || !strings.Contains(err.Error(), featureChargerWindow) || !strings.Contains(err.Error(), `"q"`) {
		t.Error(err)
	}
	for _, l := range []*relay.Link{plain, ordered} {
		if err := checkFeatures(handoff.Hello{Features: features()}, l); err != nil {
			t.Error(err)
		}
	}
}

// nobody is a gateway without chargers.
type nobody struct{ relay.Gateway }

func (nobody) LinkReady(*relay.Link) {}
