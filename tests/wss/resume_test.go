package wss

import (
	"crypto/tls"
	"testing"

	"holdfast/tests/harness"
)

// A ticket from before an upgrade is good after it, and what it resumes is held like
// any other.
func TestResumptionAcrossUpgrades(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			w := harness.NewWithProcessor(t)
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
			w.MustUpgrade()
			connect(true).Close()
			w.MustUpgrade()
			w.MustUpgrade()
			c := connect(true)
			w.MustUpgrade()
			c.mustAsk(t)
		})
	}
}
