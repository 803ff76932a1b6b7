package wss

import (
	"crypto/tls"
	"testing"
)

// A ticket from before an upgrade is good after it, and what it resumes is held like
// any other.
func TestResumptionAcrossUpgrades(t *testing.T) {
	w := start(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			config := only(w.TLS.Client(), version)
			config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			connect := func(resumes bool) *charger {
				t.Helper()
				tc := dialTLS(t, w, config)
				if got := tc.ConnectionState().DidResume; got != resumes {
					t.Errorf("resumed: %v, want %v", got, resumes)
				}
				c := open(t, tc, "RESUME")
				c.mustAsk(t) // the ticket of TLS 1.3 comes with data
				return c
			}
			connect(false).Close()
			connect(true).Close()
			mustUpgrade(t, w)
			connect(true).Close()
			mustUpgrade(t, w)
			mustUpgrade(t, w)
			c := connect(true)
			mustUpgrade(t, w)
			c.mustAsk(t)
		})
	}
}
