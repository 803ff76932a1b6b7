package record

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"testing"
)

// hostile is what a charger may send that it must not, and the alert for it.
type hostile struct {
	name   string
	build  func(far *Layer) []byte
	alert  uint8
	before string // data in it that still counts
}

// alone is hostile as one record of a type.
func alone(name string, alert, typ uint8, content []byte) hostile {
	return hostile{name, func(far *Layer) []byte { return sends(far, typ, content, 0) }, alert, ""}
}

func hostileOfBoth(s *suite) (all []hostile) {
	max := headerSize + MaxPlaintext + 2048
	if s.is13() {
		max = headerSize + MaxPlaintext + 256
	}
	all = []hostile{
		alone("data of one byte too many", alertRecordOverflow, typeData, make([]byte, MaxPlaintext+1)),
		alone("ChangeCipherSpec, sealed", alertUnexpectedMessage, typeChangeCipherSpec, []byte{1}),
		alone("type 24", alertUnexpectedMessage, 24, []byte("heartbeat")),
		alone("type 255", alertUnexpectedMessage, 255, []byte{1}),
		alone("empty record of type 24", alertUnexpectedMessage, 24, nil),
		alone("ClientHello", alertUnexpectedMessage, typeHandshake, []byte{1, 0, 0, 2, 3, 3}),
		alone("HelloRequest", alertUnexpectedMessage, typeHandshake, []byte{0, 0, 0, 0}),
		alone("empty handshake record", alertUnexpectedMessage, typeHandshake, nil),
		alone("alert of one byte", alertDecodeError, typeAlert, []byte{levelWarning}),
		alone("two alerts in a record", alertDecodeError, typeAlert, []byte{levelWarning, alertUserCanceled, levelWarning, alertCloseNotify}),
		{"ChangeCipherSpec", func(*Layer) []byte { return []byte{typeChangeCipherSpec, 3, 3, 0, 1, 1} }, alertUnexpectedMessage, ""},
		{"type 0", func(*Layer) []byte { return make([]byte, 40) }, alertUnexpectedMessage, ""},
		{"HTTP", func(*Layer) []byte { return []byte("GET / HTTP/1.1\r\n\r\n") }, alertUnexpectedMessage, ""},
		{"one byte of no type", func(*Layer) []byte { return []byte{25} }, alertUnexpectedMessage, ""},
		{"longest ciphertext", func(far *Layer) []byte {
			return forge(far, typeData, tls.VersionTLS12, make([]byte, max-headerSize-tagSize-s.explicit()-1))
		}, alertRecordOverflow, ""},
		{"too long a ciphertext, of which nothing has come", func(*Layer) []byte {
			n := max - headerSize + 1
			return []byte{typeData, 3, 3, byte(n >> 8), byte(n)}
		}, alertRecordOverflow, ""},
		{"empty ciphertext", func(*Layer) []byte { return []byte{typeData, 3, 3, 0, 0} }, alertBadRecordMAC, ""},
		{"ciphertext shorter than a tag", func(*Layer) []byte {
			n := s.explicit() + tagSize - 1
			return append([]byte{typeData, 3, 3, 0, byte(n)}, make([]byte, n)...)
		}, alertBadRecordMAC, ""},
		{"noise", func(*Layer) []byte {
			return append([]byte{typeData, 3, 3, 0, 200}, bytes.Repeat([]byte{0xaa}, 200)...)
		}, alertBadRecordMAC, ""},
		{"replay", func(far *Layer) []byte {
			r := sends(far, typeData, []byte("once"), 0)
			return join(r, r)
		}, alertBadRecordMAC, "once"},
		{"replay of a much earlier one", func(far *Layer) []byte {
			r := sends(far, typeData, []byte("once"), 0)
			return join(r, sends(far, typeData, []byte("twice"), 0), sends(far, typeData, []byte("thrice"), 0), r)
		}, alertBadRecordMAC, "oncetwicethrice"},
		{"one left out", func(far *Layer) []byte {
			sends(far, typeData, []byte("lost"), 0)
			return sends(far, typeData, []byte("after"), 0)
		}, alertBadRecordMAC, ""},
		{"two in the other order", func(far *Layer) []byte {
			a, b := sends(far, typeData, []byte("a"), 0), sends(far, typeData, []byte("b"), 0)
			return join(b, a)
		}, alertBadRecordMAC, ""},
		{"reflected", func(*Layer) []byte {
			near, _ := layers(s)
			return near.Seal(nil, []byte("what the gateway might send"))
		}, alertBadRecordMAC, ""},
		{"sealed under no key", func(*Layer) []byte {
			return newLayer(s, make([]byte, s.secretLen()), make([]byte, s.secretLen())).Seal(nil, []byte("x"))
		}, alertBadRecordMAC, ""},
		{"empty records", func(far *Layer) (b []byte) {
			for range maxUseless + 1 {
				b = append(b, sends(far, typeData, nil, 0)...)
			}
			return b
		}, alertUnexpectedMessage, ""},
		{"warnings and empty records", func(far *Layer) (b []byte) {
			for i := range maxUseless + 1 {
				if i%2 == 0 {
					b = append(b, sends(far, typeAlert, []byte{levelWarning, alertUserCanceled}, 0)...)
				} else {
					b = append(b, sends(far, typeData, nil, 3)...)
				}
			}
			return b
		}, alertUnexpectedMessage, ""},
	}
	for m := range 256 {
		if uint8(m) != messageKeyUpdate || !s.is13() {
			all = append(all, alone(fmt.Sprintf("handshake message %d", m), alertUnexpectedMessage, typeHandshake, []byte{byte(m), 0, 0, 1, 0}))
		}
	}
	return all
}

func hostileOf12() []hostile {
	versioned := func(v uint16) hostile {
		return hostile{fmt.Sprintf("version %#04x", v), func(far *Layer) []byte { return forge(far, typeData, v, []byte("x")) }, alertProtocolVersion, ""}
	}
	return []hostile{
		versioned(0x0300), versioned(0x0301), versioned(0x0302), versioned(0x0304), versioned(0x0203),
		alone("empty alert", alertDecodeError, typeAlert, nil),
		{"renegotiation in the clear", func(*Layer) []byte { return []byte{typeHandshake, 3, 3, 0, 4, 0, 0, 0, 0} }, alertBadRecordMAC, ""},
		{"alert in the clear", func(*Layer) []byte { return []byte{typeAlert, 3, 3, 0, 2, 1, 0} }, alertBadRecordMAC, ""},
		{"data passed off as an alert", func(far *Layer) []byte {
			r := sends(far, typeData, []byte{levelWarning, alertCloseNotify}, 0)
			r[0] = typeAlert
			return r
		}, alertBadRecordMAC, ""},
	}
}

func hostileOf13() []hostile {
	inner := func(name string, alert uint8, plain []byte) hostile {
		return hostile{name, func(far *Layer) []byte { return forge(far, typeData, tls.VersionTLS12, plain) }, alert, ""}
	}
	fragment := func(name string, alert uint8, parts ...[]byte) hostile {
		return hostile{name, func(far *Layer) (b []byte) {
			for _, p := range parts {
				b = append(b, sends(far, typeHandshake, p, 0)...)
			}
			return b
		}, alert, ""}
	}
	return []hostile{
		inner("nothing inside", alertUnexpectedMessage, nil),
		inner("one zero", alertUnexpectedMessage, make([]byte, 1)),
		inner("padding only", alertUnexpectedMessage, make([]byte, MaxPlaintext+1)),
		inner("padding one byte too long", alertRecordOverflow, append([]byte{'x', typeData}, make([]byte, MaxPlaintext)...)),
		inner("empty alert", alertUnexpectedMessage, []byte{typeAlert}), // RFC 8446 section 5.4
		{"alert in the clear", func(*Layer) []byte { return []byte{typeAlert, 3, 3, 0, 2, 1, 0} }, alertUnexpectedMessage, ""},
		{"handshake in the clear", func(*Layer) []byte { return []byte{typeHandshake, 3, 3, 0, 5, 24, 0, 0, 1, 0} }, alertUnexpectedMessage, ""},
		{"header of a version that was not sealed", func(far *Layer) []byte {
			r := sends(far, typeData, []byte("x"), 0)
			r[2] = 1
			return r
		}, alertBadRecordMAC, ""},
		fragment("KeyUpdate with request 2", alertIllegalParameter, keyUpdate(2)),
		fragment("KeyUpdate with request 255", alertIllegalParameter, keyUpdate(255)),
		fragment("KeyUpdate with request 2, in parts", alertIllegalParameter, keyUpdate(2)[:4], keyUpdate(2)[4:]),
		fragment("KeyUpdate of no length", alertDecodeError, []byte{messageKeyUpdate, 0, 0, 0}),
		fragment("KeyUpdate of length 2", alertDecodeError, []byte{messageKeyUpdate, 0, 0, 2, 0, 0}),
		fragment("KeyUpdate of length 65537", alertDecodeError, []byte{messageKeyUpdate, 1, 0, 1, 0}),
		fragment("KeyUpdate of length 2, in parts", alertDecodeError, []byte{messageKeyUpdate}, []byte{0}, []byte{0}, []byte{2}),
		fragment("two KeyUpdates in a record", alertUnexpectedMessage, join(keyUpdate(0), keyUpdate(0))),
		fragment("KeyUpdate and a beginning", alertUnexpectedMessage, append(keyUpdate(0), messageKeyUpdate)),
		fragment("KeyUpdate in parts, and a beginning", alertUnexpectedMessage, keyUpdate(0)[:2], append(keyUpdate(0)[2:], messageKeyUpdate)),
		fragment("empty record in a KeyUpdate", alertUnexpectedMessage, keyUpdate(0)[:2], nil, keyUpdate(0)[2:]),
		{"data in a KeyUpdate", func(far *Layer) []byte {
			return join(sends(far, typeHandshake, keyUpdate(0)[:2], 0), sends(far, typeData, []byte("x"), 0))
		}, alertUnexpectedMessage, ""},
		{"alert in a KeyUpdate", func(far *Layer) []byte {
			return join(sends(far, typeHandshake, keyUpdate(0)[:2], 0), sends(far, typeAlert, []byte{levelWarning, alertCloseNotify}, 0))
		}, alertUnexpectedMessage, ""},
		{"old key after a KeyUpdate", func(far *Layer) []byte {
			return join(sends(far, typeHandshake, keyUpdate(0), 0), sends(far, typeData, []byte("x"), 0))
		}, alertBadRecordMAC, ""},
		{"new key without a KeyUpdate", func(far *Layer) []byte {
			far.write.next(far.suite)
			return sends(far, typeData, []byte("x"), 0)
		}, alertBadRecordMAC, ""},
		{"KeyUpdates", func(far *Layer) (b []byte) {
			for range maxUseless + 1 {
				b = append(b, updates(far, 1)...)
			}
			return b
		}, alertUnexpectedMessage, ""},
	}
}

// Whatever a charger must not send ends the connection with the right alert:
// what came before it counts, nothing that comes behind it does, and nothing but
// the alert is sent. The state that is left can be handed over.
func TestHostile(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *suite) {
		all := append(hostileOfBoth(s), hostileOf12()...)
		if s.is13() {
			all = append(hostileOfBoth(s), hostileOf13()...)
		}
		for _, tt := range all {
			near, far := layers(s)
			stream := join(sends(far, typeData, []byte("before"), 0), tt.build(far), sends(far, typeData, []byte("behind"), 0))
			pieces := [][]byte{stream}
			for _, cut := range []bool{false, true} {
				if cut && len(stream) > 3000 {
					continue
				} else if cut {
					near, far = layers(s)
					pieces = bytewise(stream)
				}
				near, data, err := opens(t, near, cut, pieces...)
				var v *ViolationError
				if !errors.As(err, &v) || v.Alert != tt.alert || v.Why == "" {
					t.Errorf("%s (in bytes: %v): %v; want alert %d", tt.name, cut, err, tt.alert)
					continue
				}
				if string(data) != "before"+tt.before {
					t.Errorf("%s: gives %q", tt.name, data)
				}
				near = throughState(t, near)
				if !near.ReadClosed() || near.WriteClosed() {
					t.Errorf("%s: closed for reading %v, for writing %v", tt.name, near.ReadClosed(), near.WriteClosed())
				}
				if alert := told(t, far, near.AppendAlert(nil, err)); alert != tt.alert {
					t.Errorf("%s: the charger is told alert %d; want %d", tt.name, alert, tt.alert)
				}
				near = throughState(t, near)
				if b := near.AppendAlert(near.AppendCloseNotify(nil), err); len(b) > 0 || !near.WriteClosed() || near.OwesUpdate() {
					t.Errorf("%s: something follows the alert", tt.name)
				}
			}
		}
	})
}

// Each bit of a record counts.
func TestForgedBits(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *suite) {
		_, far := layers(s)
		record := sends(far, typeData, []byte("data"), 3)
		for bit := range 8 * len(record) {
			near, _ := layers(s)
			b := bytes.Clone(record)
			b[bit/8] ^= 1 << (bit % 8)
			data, err := near.Open(b)
			var v *ViolationError
			if len(data) > 0 || bit/8 != 3 && bit/8 != 4 && !errors.As(err, &v) {
				t.Errorf("with bit %d changed: %q, %v", bit, data, err)
			}
			if bit/8 >= headerSize && v.Alert != alertBadRecordMAC {
				t.Errorf("with bit %d changed: %v", bit, err)
			}
		}
	})
}

// What is just allowed is no violation.
func TestJustAllowed(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *suite) {
		near, far := layers(s)
		full := bytes.Repeat([]byte("x"), MaxPlaintext)
		good := func(name, want string, stream ...[]byte) {
			t.Helper()
			for _, b := range stream {
				data, err := near.Open(b)
				if err != nil || string(data) != want {
					t.Fatalf("%s: %d bytes, %v; want %d", name, len(data), err, len(want))
				}
			}
		}
		good("full record", string(full), sends(far, typeData, full, 0))
		for range 3 {
			for range maxUseless {
				good("empty", "", sends(far, typeData, nil, 0))
			}
			good("data", "x", sends(far, typeData, []byte("x"), 0))
		}
		if !s.is13() {
			good("all that a warning may say", "", sends(far, typeAlert, []byte{levelWarning, 255}, 0))
			return
		}
		good("full record of padding", "x", sends(far, typeData, []byte("x"), MaxPlaintext-1))
		good("empty data, fully padded", "", sends(far, typeData, nil, MaxPlaintext))
		good("another version in the header", "x", forge(far, typeData, 0x0301, []byte{'x', typeData}))
		good("padded KeyUpdate", "", sends(far, typeHandshake, keyUpdate(0), 100))
		far.write.next(s)
		good("data", "x", sends(far, typeData, []byte("x"), 0))
	})
}

func TestAlerts(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *suite) {
		for level := range 4 {
			for alert := range 256 {
				near, far := layers(s)
				data, err := near.Open(sends(far, typeAlert, []byte{byte(level), byte(alert)}, 0))
				fatal := alert != alertUserCanceled || !s.is13()
				if !s.is13() {
					fatal = level != levelWarning
				}
				var got AlertError
				switch {
				case len(data) > 0:
					t.Errorf("%d %d gives data", level, alert)
				case alert == alertCloseNotify:
					if err != ErrCloseNotify {
						t.Errorf("close_notify of level %d: %v", level, err)
					}
				case !fatal && err != nil:
					t.Errorf("%d %d: %v", level, alert, err)
				case fatal && (!errors.As(err, &got) || uint8(got) != uint8(alert) || got.Error() == ""):
					t.Errorf("%d %d: %v", level, alert, err)
				}
				throughState(t, near)
				if err == nil {
					continue
				}
				if alert := told(t, far, near.AppendAlert(nil, err)); alert != alertCloseNotify {
					t.Errorf("an alert is answered with alert %d", alert)
				}
			}
		}
	})
}
