package credentials

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestBlocks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "blocks")
	b, err := NewBlocks(path)
	if err != nil {
		t.Fatal(err)
	}
	add := func(target string, until time.Duration, reason string) {
		t.Helper()
		block, err := ParseTarget(target)
		if err != nil {
			t.Fatal(err)
		}
		if block.Reason = reason; until != 0 {
			block.Until = time.Now().Add(until)
		}
		if err := b.Add(block); err != nil {
			t.Fatal(err)
		}
	}
	add("CP 1ü", 0, "stolen\nand\tsold")
	add("10.1.2.3/8", time.Hour, "")
	add("192.0.2.7", 0, "scanner")
	add("2001:db8::1/32", 0, "")
	add("CP2", -time.Second, "is over")
	again, err := NewBlocks(path) // as the process does that follows
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []*Blocks{b, again} {
		for identity, want := range map[string]string{"CP 1ü": "stolen and sold", "CP2": "", "CP3": "", "10.0.0.0/8": ""} {
			if block, blocked := l.OfCharger(identity); blocked != (want != "") || l == again && block.Reason != want && want != "" {
				t.Errorf("%s: %+v, %v", identity, block, blocked)
			}
		}
		for address, want := range map[string]bool{"10.255.0.1": true, "11.0.0.1": false, "192.0.2.7": true, "::ffff:192.0.2.7": true, "192.0.2.8": false, "2001:db8:ffff::": true, "2001:db9::": false} {
			if _, blocked := l.OfAddress(netip.MustParseAddr(address)); blocked != want {
				t.Errorf("%s is blocked: %v", address, blocked)
			}
		}
	}
	var targets []string
	for _, block := range again.All() {
		targets = append(targets, block.Target())
	}
	if got := fmt.Sprint(targets); got != "[10.0.0.0/8 192.0.2.7/32 2001:db8::/32 CP 1ü]" {
		t.Error(got)
	}
	// One process writes, the other sees it at once; an editor does.
	if removed, err := again.Remove("CP 1ü"); err != nil || !removed {
		t.Error(removed, err)
	}
	if _, blocked := b.OfCharger("CP 1ü"); blocked {
		t.Error("what another process took back still holds")
	}
	if removed, err := b.Remove("CP 1ü"); err != nil || removed {
		t.Error(removed, err)
	}
	if err := os.WriteFile(path, []byte("charger CP9 - by hand\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if block, blocked := b.OfCharger("CP9"); !blocked || block.Reason != "by hand" {
		t.Errorf("%+v, %v", block, blocked)
	}
	// A fault costs nothing else, and is not written over.
	if err := os.WriteFile(path, []byte("charger CP9 - by hand\nnonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, blocked := b.OfCharger("CP9"); !blocked {
		t.Error("a line at fault lets another in")
	}
	if err := b.Add(Block{Identity: "CP10"}); err == nil || !strings.Contains(err.Error(), path+":2:") {
		t.Error(err)
	}
}

func TestDamagedBlocks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "blocks")
	for text, why := range map[string]string{
		"charger":                      ":1: want",
		"charger CP1":                  ":1: want",
		"charger %zz -":                "invalid URL escape",
		"charger CP1 soon":             "cannot parse",
		"charger  -":                   ":1: want",
		"address 10.0.0.0 -":           "no '/'",
		"address 10.0.0.1/8 -":         "10.0.0.0/8",
		"# fine\n\nwho 10.0.0.1/8 - x": ":3: want",
	} {
		if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := NewBlocks(path); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v, want %q", text, err, why)
		}
	}
	if err := CheckBlocks(filepath.Join(path, "no-directory")); err == nil {
		t.Error("a place that cannot be written to passes")
	}
	for _, target := range []string{"", "a\nb", strings.Repeat("x", 300)} {
		if b, err := ParseTarget(target); err == nil {
			t.Errorf("%.20q is taken for %+v", target, b)
		}
	}
}
