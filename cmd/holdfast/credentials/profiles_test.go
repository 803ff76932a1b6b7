package credentials

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"holdfast/cmd/holdfast/config"
)

func profilesIn(t *testing.T, text string) *Profiles {
	t.Helper()
	path := filepath.Join(t.TempDir(), "profiles")
	if text != "" {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p, err := NewProfiles(path)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *Profiles) mustUse(t *testing.T, identity string, profile, want uint8) {
	t.Helper()
	if highest, err := p.Use(identity, profile); err != nil || highest != want {
		t.Errorf("%s with %d: %d, %v; want %d", identity, profile, highest, err, want)
	}
}

func (p *Profiles) content(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(p.path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Profiles rise, and what has risen is in the file for whoever reads it next.
func TestProfiles(t *testing.T) {
	p := profilesIn(t, "")
	p.mustUse(t, "CP-1", 0, 0)
	p.mustUse(t, "CP-1", 2, 2)
	p.mustUse(t, "CP-1", 1, 2)
	p.mustUse(t, "CP-1", 3, 3)
	p.mustUse(t, "#a b%", 1, 1)
	p.mustUse(t, "DE:12:ü", 2, 2)
	if got, want := p.content(t), "CP-1 2\nCP-1 3\n%23a%20b%25 1\nDE:12:%C3%BC 2\n"; got != want {
		t.Errorf("the file has\n%swant\n%s", got, want)
	}
	again, err := NewProfiles(p.path)
	if err != nil {
		t.Fatal(err)
	}
	again.mustUse(t, "CP-1", 0, 3)
	again.mustUse(t, "#a b%", 0, 1)
	again.mustUse(t, "DE:12:ü", 1, 2)
	again.mustUse(t, "DE:12:u", 0, 0)
}

// Two gateways have the file open during an upgrade: each knows what the other wrote.
func TestProfilesOfTwo(t *testing.T) {
	a := profilesIn(t, "")
	b, err := NewProfiles(a.path)
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for i, p := range []*Profiles{a, b} {
		for k := range 200 {
			wait.Go(func() { p.mustUse(t, fmt.Sprintf("CP-%d-%d", i, k), 2, 2) })
		}
	}
	wait.Wait()
	for i := range 2 {
		for k := range 200 {
			for _, p := range []*Profiles{a, b} {
				p.mustUse(t, fmt.Sprintf("CP-%d-%d", i, k), 1, 2)
			}
		}
	}
	if n := strings.Count(a.content(t), "\n"); n != 400 {
		t.Errorf("%d lines", n)
	}
}

// Wherever a power cut ends the file, the lines before are good, and so are those that
// are added.
func TestProfilesCutShort(t *testing.T) {
	const text = "CP%201 1\nCP%201 3\nCP%2012 2\n"
	for n := range len(text) + 1 {
		for _, junk := range []string{"", "\x00\x00\x00"} {
			p := profilesIn(t, "# ours\n"+text[:n]+junk)
			p.mustUse(t, "new", 1, 1)
			p, err := NewProfiles(p.path)
			if err != nil {
				t.Fatalf("%q: %v", text[:n]+junk, err)
			}
			there := func(end int, profile uint8) uint8 {
				if n >= end || n == end-1 && junk == "" { // or all but its line feed
					return profile
				}
				return 0
			}
			p.mustUse(t, "CP 1", 0, max(there(9, 1), there(18, 3)))
			p.mustUse(t, "CP 12", 0, there(28, 2))
			p.mustUse(t, "new", 0, 1)
		}
	}
}

// A file with a line at fault is refused whole; one that becomes so changes nothing.
func TestDamagedProfiles(t *testing.T) {
	for _, line := range []string{"CP-1", "CP-1 0", "CP-1 4", "CP-1  2", "CP-1 2 ", "CP 1 2", "CP%2 2", " 2", "CP-1\t2", "\x00\x00", "CP%2F1 2", "CP-1 22"} {
		path := filepath.Join(t.TempDir(), "profiles")
		text := "CP-1 3\n" + line + "\nCP-2 1\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var faults config.Faults
		for _, err := range []error{func() error { _, err := NewProfiles(path); return err }(), CheckProfiles(path)} {
			if !errors.As(err, &faults) || len(faults) != 1 || !strings.Contains(err.Error(), path+":2: want the identity") {
				t.Errorf("%q: %v", line, err)
			}
		}
	}
	p := profilesIn(t, "CP-1 2\n")
	if err := os.WriteFile(p.path, []byte("CP-1 1\nnonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.refresh(); err == nil || !strings.Contains(err.Error(), ":2: ") {
		t.Errorf("%v", err)
	}
	p.mustUse(t, "CP-1", 1, 2)
	p.mustUse(t, "CP-2", 1, 1)
	p.mustUse(t, "CP-2", 0, 1)
	edited := p.path + ".new"
	if err := errors.Join(os.WriteFile(edited, []byte("CP-1 1\r\n"), 0o600), os.Rename(edited, p.path)); err != nil {
		t.Fatal(err)
	}
	p.mustUse(t, "CP-1", 1, 1)
}

// A charger whose profile cannot be remembered hears so; those that are known do not
// need the disk.
func TestUnsavedProfile(t *testing.T) {
	p := profilesIn(t, "CP-1 2\n")
	if err := os.Remove(p.path); err != nil {
		t.Fatal(err)
	}
	p.mustUse(t, "CP-1", 2, 2)
	p.mustUse(t, "CP-1", 1, 2)
	if _, err := p.Use("CP-1", 3); err == nil {
		t.Error("a profile rose without a file")
	}
	if err := CheckProfiles(filepath.Join(p.path, "x")); err == nil {
		t.Error("a file in a file can be made")
	}
	if err := CheckProfiles(p.path); err != nil || slices.Contains(dir(t, filepath.Dir(p.path)), "profiles") {
		t.Errorf("the check: %v, with %v", err, dir(t, filepath.Dir(p.path)))
	}
}

func dir(t *testing.T, path string) (names []string) {
	t.Helper()
	all, err := os.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		names = append(names, e.Name())
	}
	return names
}
