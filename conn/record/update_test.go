package record

import (
	"bytes"
	"crypto/cipher"
	"crypto/tls"
	"testing"
)

// nonces writes down what was sealed, and fails the test when a nonce is used
// again under the same key.
type nonces struct {
	t    testing.TB
	used map[string]bool
}

func (n *nonces) watch(s *suite) *suite {
	watched := *s
	watched.aead = func(key []byte) (cipher.AEAD, error) {
		a, err := s.aead(key)
		return &watchedAEAD{a, string(key), n}, err
	}
	return &watched
}

type watchedAEAD struct {
	cipher.AEAD
	key    string
	nonces *nonces
}

func (a *watchedAEAD) Seal(dst, nonce, plain, ad []byte) []byte {
	if used := a.key + string(nonce); a.nonces.used[used] {
		a.nonces.t.Errorf("nonce %x is used again", nonce)
	} else {
		a.nonces.used[used] = true
	}
	return a.AEAD.Seal(dst, nonce, plain, ad)
}

// RFC 8446 section 5.5: a key protects no more than so many records, however
// they come to be sealed, and the connection goes on under the next one.
func TestRekeyAtTheLimit(t *testing.T) {
	for _, id := range []uint16{tls.TLS_AES_128_GCM_SHA256, tls.TLS_AES_256_GCM_SHA384} {
		s := findSuite(tls.VersionTLS13, id)
		if s.rekeyAt > 1<<24 {
			t.Errorf("%v: %d records", s, s.rekeyAt)
		}
		watch := &nonces{t, map[string]bool{}}
		limited := watch.watch(s)
		limited.rekeyAt = 3
		near, far := layers(s)
		near.suite = limited
		keys := map[[maxSecret]byte]bool{}
		for i := range 20 {
			data := bytes.Repeat([]byte{byte(i)}, 1+i%4*MaxPlaintext)
			got, err := far.Open(near.Seal(nil, data))
			if err != nil || !bytes.Equal(got, data) {
				t.Fatalf("%d bytes of %d, %v", len(got), len(data), err)
			}
			if near.write.seq > limited.rekeyAt {
				t.Fatalf("%d records under a key", near.write.seq)
			}
			if far.OwesUpdate() {
				t.Fatal("an update is requested of the charger, whose keys are its own matter")
			}
			keys[near.write.secret] = true
			near = throughState(t, near)
			near.suite = limited
		}
		if len(keys) < 10 {
			t.Errorf("%d keys", len(keys))
		}
	}
	for i := range suites {
		if s := &suites[i]; !s.is13() && s.rekeyAt != noLimit {
			t.Errorf("%v: a limit without a way to another key", s)
		}
	}
}

// A charger's requests for an update are answered once for all of them, without
// a request of ours, and the charger goes on with the next key.
func TestOneAnswerForManyRequests(t *testing.T) {
	for i := range suites {
		s := &suites[i]
		if !s.is13() {
			continue
		}
		watch := &nonces{t, map[string]bool{}}
		near, far := layers(s)
		near.suite = watch.watch(s)
		for round := range 5 {
			stream := join(updates(far, 1), updates(far, 0), updates(far, 1, 3), sends(far, typeData, []byte("x"), 0), updates(far, 1))
			if data, err := near.Open(stream); err != nil || string(data) != "x" || !near.OwesUpdate() {
				t.Fatalf("%q, %v, owes %v", data, err, near.OwesUpdate())
			}
			if round%2 == 0 {
				near = throughState(t, near)
				near.suite = watch.watch(s)
			}
			before := near.write.secret
			answer := near.AppendKeyUpdate(nil)
			if near.OwesUpdate() || near.write.secret == before || near.write.seq != 0 || len(answer) != headerSize+keyUpdateSize+1+tagSize {
				t.Fatalf("answered with %d bytes, owes %v", len(answer), near.OwesUpdate())
			}
			answer = near.Seal(answer, []byte("under the next key"))
			if data, err := far.Open(answer); err != nil || string(data) != "under the next key" || far.OwesUpdate() {
				t.Fatalf("%q, %v, asked in return: %v", data, err, far.OwesUpdate())
			}
		}
		// None is owed by who may not send any more.
		if _, err := near.Open(updates(far, 1)); err != nil {
			t.Fatal(err)
		}
		near.AppendCloseNotify(nil)
		if near.OwesUpdate() || throughState(t, near).OwesUpdate() {
			t.Error("a KeyUpdate is owed after close_notify")
		}
	}
}

// A layer that is dropped from the cache, or handed over, goes on where it was.
func TestColdLayersGoOn(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *suite) {
		watch := &nonces{t, map[string]bool{}}
		near, far := layers(s)
		near.suite = watch.watch(s)
		cache := NewCache(1)
		other, _ := layers(s)
		for i := range 30 {
			if data, err := far.Open(near.Seal(nil, []byte("there"))); err != nil || string(data) != "there" {
				t.Fatalf("%q, %v", data, err)
			}
			if data, err := near.Open(sends(far, typeData, []byte("back"), 0)); err != nil || string(data) != "back" {
				t.Fatalf("%q, %v", data, err)
			}
			cache.Used(near)
			if near.write.keys == nil || near.read.keys == nil {
				t.Fatal("cold when just used")
			}
			switch i % 3 {
			case 0:
				other.Seal(nil, []byte("x"))
				cache.Used(other)
				if near.write.keys != nil || near.read.keys != nil {
					t.Fatal("still warm")
				}
			case 1:
				near = throughState(t, near)
				near.suite = watch.watch(s)
			}
		}
	})
}

// The cache holds as many as it may, those that were used last.
func TestCache(t *testing.T) {
	const size = 4
	cache := NewCache(size)
	var all [10]*Layer
	warm := func() (n int) {
		for _, l := range all {
			if l != nil && l.write.keys != nil {
				n++
			}
		}
		return n
	}
	use := func(l *Layer) {
		l.Seal(nil, []byte("x"))
		cache.Used(l)
	}
	for i := range all {
		all[i], _ = layers(&suites[i%3])
		use(all[i])
		if warm() != min(i+1, size) {
			t.Fatalf("%d of %d are warm", warm(), i+1)
		}
	}
	for i := range 100 {
		use(all[0]) // all the time
		use(all[i%len(all)])
		if warm() > size || all[0].write.keys == nil {
			t.Fatalf("%d are warm; the one that is used most: %v", warm(), all[0].write.keys != nil)
		}
	}
	all[0].Wipe()
	use(all[1])
}

// Wiped, a layer has no secret, owes nothing and appends nothing.
func TestWipe(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *suite) {
		near, far := layers(s)
		near.Seal(nil, []byte("x"))
		if _, err := near.Open(sends(far, typeData, []byte("data"), 0)[:20]); err != nil {
			t.Fatal(err)
		}
		near.Wipe()
		zero := [maxSecret]byte{}
		if near.read.secret != zero || near.write.secret != zero || near.read.keys != nil || near.write.keys != nil || near.Memory() != 0 {
			t.Error("something is left")
		}
		if near.OwesUpdate() || len(near.AppendCloseNotify(nil)) > 0 || !near.ReadClosed() || !near.WriteClosed() {
			t.Error("it goes on")
		}
	})
}

// Sealing behind the end is a mistake of ours, and never reaches the wire.
func TestSealBehindTheEndPanics(t *testing.T) {
	near, _ := layers(&suites[0])
	near.AppendCloseNotify(nil)
	for name, f := range map[string]func(){
		"data":      func() { near.Seal(nil, []byte("x")) },
		"KeyUpdate": func() { near.AppendKeyUpdate(nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s is sealed after close_notify", name)
				}
			}()
			f()
		}()
	}
}
