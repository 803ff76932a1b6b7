package record

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"holdfast/unixipc/tlv"
)

// stateSamples are layers of every kind. Their names are those of the golden
// files in testdata, which stay for ever.
func stateSamples(t testing.TB) map[string]*Layer {
	after := func(s *suite, build func(far *Layer) []byte) *Layer {
		near, far := layers(s)
		if _, err := near.Open(build(far)); err != nil {
			t.Fatal(err)
		}
		return near
	}
	of := func(version, id uint16) *suite { return findSuite(version, id) }
	aes128, chacha := of(tls.VersionTLS13, tls.TLS_AES_128_GCM_SHA256), of(tls.VersionTLS13, tls.TLS_CHACHA20_POLY1305_SHA256)
	all := map[string]*Layer{
		"part-1":       after(aes128, func(far *Layer) []byte { return sends(far, typeData, []byte("x"), 0)[:1] }),
		"part-header":  after(aes128, func(far *Layer) []byte { return sends(far, typeData, []byte("x"), 0)[:headerSize] }),
		"part-data":    after(chacha, func(far *Layer) []byte { return sends(far, typeData, []byte("some data"), 3)[:17] }),
		"handshake":    after(aes128, func(far *Layer) []byte { return sends(far, typeHandshake, keyUpdate(1)[:3], 0) }),
		"useless":      after(chacha, func(far *Layer) []byte { return sends(far, typeData, nil, 2) }),
		"owes-update":  after(aes128, func(far *Layer) []byte { return updates(far, 1) }),
		"both-updated": after(aes128, func(far *Layer) []byte { return updates(far, 1) }),
		"counts":       after(of(tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384), func(far *Layer) []byte { return sends(far, typeData, []byte("x"), 0) }),
	}
	all["both-updated"].AppendKeyUpdate(nil)
	all["counts"].read.seq, all["counts"].write.seq = 300, maxSeq
	for i := range suites {
		near, _ := layers(&suites[i])
		all[fmt.Sprintf("idle-%04x", suites[i].id)] = near
	}
	closed, far := layers(aes128)
	if _, err := closed.Open(sends(far, typeAlert, []byte{levelWarning, alertCloseNotify}, 0)); err != ErrCloseNotify {
		t.Fatal(err)
	}
	all["read-closed"] = closed
	both := throughState(t, closed)
	both.AppendCloseNotify(nil)
	all["closed"] = both
	return all
}

func TestStateRoundTrip(t *testing.T) {
	for name, l := range stateSamples(t) {
		next := throughState(t, l)
		if next.suite != l.suite || next.read.seq != l.read.seq || next.write.seq != l.write.seq || !bytes.Equal(next.part, l.part) ||
			next.read.secret != l.read.secret || next.write.secret != l.write.secret ||
			!bytes.Equal(next.handshake[:next.handshakeLen], l.handshake[:l.handshakeLen]) || next.useless != l.useless || next.owesUpdate != l.owesUpdate ||
			next.readClosed != l.readClosed || next.writeClosed != l.writeClosed {
			t.Errorf("%s: became %+v, was %+v", name, next, l)
		}
		b := l.AppendState([]byte("before"))
		if !bytes.HasPrefix(b, []byte("before")) {
			t.Errorf("%s: not appended", name)
		}
		b = b[len("before"):]
		next, err := ParseState(b)
		if err != nil {
			t.Fatal(err)
		}
		clear(b) // nothing of it is kept
		if !bytes.Equal(next.AppendState(nil), l.AppendState(nil)) {
			t.Errorf("%s: aliases what it was parsed from", name)
		}
	}
}

func TestStateEveryStrictPrefixIsRefused(t *testing.T) {
	for name, l := range stateSamples(t) {
		b := l.AppendState(nil)
		for i := range b {
			if _, err := ParseState(b[:i]); err == nil {
				t.Errorf("%s: passes when cut at %d of %d", name, i, len(b))
			}
		}
		if _, err := ParseState(append(b, 0)); err == nil {
			t.Errorf("%s: passes with a byte more", name)
		}
	}
}

// The bytes of version 1 never change. A golden file is written only if
// HOLDFAST_GOLDEN=new and there is none.
func TestStateGolden(t *testing.T) {
	samples := stateSamples(t)
	for name, l := range samples {
		path, got := filepath.Join("testdata", "layer-v1-"+name+".hex"), l.AppendState(nil)
		text, err := os.ReadFile(path)
		if os.IsNotExist(err) && os.Getenv("HOLDFAST_GOLDEN") == "new" {
			var b strings.Builder
			for line := range slices.Chunk(got, 32) {
				fmt.Fprintf(&b, "%x\n", line)
			}
			if err := os.MkdirAll("testdata", 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		want := unhex(t, string(text))
		if !bytes.Equal(got, want) {
			t.Errorf("%s: version 1 is written as\n%x, was\n%x", name, got, want)
		}
		if _, err := ParseState(want); err != nil {
			t.Errorf("%s cannot be read any more: %v", path, err)
		}
	}
	files, err := filepath.Glob("testdata/layer-v1-*.hex")
	if err != nil || len(files) != len(samples) {
		t.Errorf("%d files, %v; want %d", len(files), err, len(samples))
	}
}

// rewrite is the state of l with fields replaced; an empty value leaves one out.
func rewrite(t *testing.T, l *Layer, change map[uint32][]byte) []byte {
	t.Helper()
	fields := map[uint32][]byte{}
	r := tlv.NewReader("", l.AppendState(nil), stateMagic, stateVersion)
	for id, ok := r.Next(); ok; id, ok = r.Next() {
		fields[id] = bytes.Clone(r.Bytes(1 << 20))
	}
	for id, v := range change {
		fields[id] = v
	}
	b := tlv.AppendHeader(nil, stateMagic, stateVersion)
	for id := range uint32(100) {
		b = tlv.AppendBytes(b, id, fields[id])
	}
	return tlv.AppendEnd(b)
}

func TestStateHostile(t *testing.T) {
	number := func(v uint64) []byte { return binary.AppendUvarint(nil, v) }
	samples := stateSamples(t)
	long := append([]byte{typeData, 3, 3, 0x41, 0x00}, make([]byte, MaxPlaintext+256)...)
	for _, tt := range []struct {
		name, of string
		change   map[uint32][]byte
	}{
		{"no suite", "idle-1301", map[uint32][]byte{fieldSuite: nil}},
		{"short suite", "idle-1301", map[uint32][]byte{fieldSuite: {3, 4, 0x13}}},
		{"long suite", "idle-1301", map[uint32][]byte{fieldSuite: {3, 4, 0x13, 1, 0}}},
		{"suite of another version", "idle-1301", map[uint32][]byte{fieldSuite: {3, 3, 0x13, 1}}},
		{"suite that cannot be held", "idle-1301", map[uint32][]byte{fieldSuite: {3, 3, 0xc0, 0x13}}},
		{"version 1.1", "idle-1301", map[uint32][]byte{fieldSuite: {3, 2, 0xc0, 0x2f}}},
		{"no read secret", "idle-1301", map[uint32][]byte{fieldReadSecret: nil}},
		{"no write secret", "idle-1301", map[uint32][]byte{fieldWriteSecret: nil}},
		{"short secret", "idle-1301", map[uint32][]byte{fieldReadSecret: make([]byte, 31)}},
		{"long secret", "idle-1301", map[uint32][]byte{fieldWriteSecret: make([]byte, 33)}},
		{"secret of another suite", "idle-1301", map[uint32][]byte{fieldSuite: {3, 4, 0x13, 2}}},
		{"secret longer than any", "idle-1302", map[uint32][]byte{fieldWriteSecret: make([]byte, 49)}},
		{"count of records read", "idle-1301", map[uint32][]byte{fieldReadSeq: number(maxSeq + 1)}},
		{"count of records written", "idle-1301", map[uint32][]byte{fieldWriteSeq: number(1<<64 - 1)}},
		{"part that is whole", "idle-1301", map[uint32][]byte{fieldPart: {typeData, 3, 3, 0, 1, 0}}},
		{"part that is more than whole", "idle-1301", map[uint32][]byte{fieldPart: {typeData, 3, 3, 0, 1, 0, 0}}},
		{"part that is empty and whole", "idle-1301", map[uint32][]byte{fieldPart: {typeData, 3, 3, 0, 0}}},
		{"part of another type", "idle-1301", map[uint32][]byte{fieldPart: {typeAlert}}},
		{"part of a record too long", "idle-1301", map[uint32][]byte{fieldPart: {typeData, 3, 3, 0xff, 0xff}}},
		{"part that is whole, and the longest", "idle-1301", map[uint32][]byte{fieldPart: long}},
		{"part longer than any", "idle-1301", map[uint32][]byte{fieldPart: make([]byte, 20_000)}},
		{"part of another version", "idle-c02f", map[uint32][]byte{fieldPart: {typeData, 3, 1, 0, 9}}},
		{"whole handshake message", "idle-1301", map[uint32][]byte{fieldHandshake: keyUpdate(0)}},
		{"another handshake message", "idle-1301", map[uint32][]byte{fieldHandshake: {1}}},
		{"KeyUpdate of another length", "idle-1301", map[uint32][]byte{fieldHandshake: {messageKeyUpdate, 1}}},
		{"KeyUpdate in TLS 1.2", "idle-c02f", map[uint32][]byte{fieldHandshake: {messageKeyUpdate}}},
		{"KeyUpdate owed in TLS 1.2", "idle-c02f", map[uint32][]byte{fieldOwesUpdate: number(1)}},
		{"more useless records than may be", "idle-1301", map[uint32][]byte{fieldUseless: number(maxUseless + 1)}},
		{"truth of 2", "idle-1301", map[uint32][]byte{fieldReadClosed: number(2)}},
		{"part after the end", "read-closed", map[uint32][]byte{fieldPart: {typeData}}},
		{"handshake after the end", "read-closed", map[uint32][]byte{fieldHandshake: {messageKeyUpdate}}},
		{"count after the end", "read-closed", map[uint32][]byte{fieldUseless: number(1)}},
	} {
		b := rewrite(t, samples[tt.of], tt.change)
		if l, err := ParseState(b); err == nil || l != nil {
			t.Errorf("%s: passes", tt.name)
		}
	}
	for _, b := range [][]byte{nil, {}, {0}, []byte("Ht"), []byte("Hc\x01\x00"), []byte("Ht\x02\x00"), []byte("Ht\x01")} {
		if _, err := ParseState(b); err == nil {
			t.Errorf("%x passes", b)
		}
	}
	if _, err := ParseState(rewrite(t, samples["idle-1301"], map[uint32][]byte{50: []byte("new")})); err != nil {
		t.Errorf("an optional field of a later version: %v", err)
	}
}

// A record that was cut short at one byte and again at a later one is put together
// from a state and an addition, or refused if it is added to anything else.
func TestAdditions(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *suite) {
		near, far := layers(s)
		b := sends(far, typeData, []byte("a record"), 0)
		after := func(n int) *Layer {
			l := throughState(t, near)
			if _, err := l.Open(bytes.Clone(b[:n])); err != nil {
				t.Fatal(err)
			}
			return l
		}
		for i := 1; i < len(b); i++ {
			for j := i; j <= len(b); j++ {
				l := after(i)
				held := throughState(t, l)
				l.MarkSent()
				if _, err := l.Open(bytes.Clone(b[i:j])); err != nil {
					t.Fatal(err)
				}
				addition := l.AppendAddition(nil)
				next, err := ParseAddition(addition, held)
				if err != nil || !bytes.Equal(next.AppendState(nil), l.AppendState(nil)) {
					t.Fatalf("%d, %d: became %+v, %v", i, j, next, err)
				}
				if j == len(b) {
					continue // the record is gone
				}
				for _, other := range []*Layer{nil, near, after(i + 1)} {
					if i+1 == len(b) {
						continue
					}
					if _, err := ParseAddition(addition, other); err == nil {
						t.Fatalf("%d, %d: added to %+v", i, j, other)
					}
				}
			}
		}
	})
}

// hasUnknown tells that there is a field in b that is passed over.
func hasUnknown(b []byte) bool {
	r := tlv.NewReader("", b, stateMagic, stateVersion)
	for id, ok := r.Next(); ok; id, ok = r.Next() {
		if r.Unknown(); id > fieldWriteClosed {
			return true
		}
	}
	return false
}
