package harness

import (
	"crypto/tls"
	"path/filepath"
	"strings"
	"sync"

	"holdfast/tests/pki"
)

// loopbackTLS is where gateways listen for wss. It is another address than that
// for ws: tableflip tells listeners apart by what was asked for, port 0.
const loopbackTLS = "127.0.0.2:0"

// identities are what all gateways of this process serve with: RSA keys take long
// to make.
var identities = sync.OnceValues(func() (made struct {
	servers, chargers *pki.Authority
	ecdsa, rsa        pki.Pair
}, err error,
) {
	if made.servers, err = pki.NewAuthority("Holdfast test servers"); err != nil {
		return made, err
	}
	if made.chargers, err = pki.NewAuthority("Holdfast test chargers"); err != nil {
		return made, err
	}
	names := []string{"127.0.0.1", "127.0.0.2", "localhost"}
	if made.ecdsa, err = made.servers.Issue(pki.Request{CommonName: "gateway ECDSA", Names: names}); err != nil {
		return made, err
	}
	made.rsa, err = made.servers.Issue(pki.Request{CommonName: "gateway RSA", Names: names, RSA: true})
	return made, err
})

// TLS is what a gateway is started with for wss.
type TLS struct {
	// Servers signs what gateways show, Chargers what chargers show, for
	// -tls-client-ca.
	Servers, Chargers *pki.Authority
	// Files of the certificates and their keys, and of the authorities.
	ECDSA, ECDSAKey, RSA, RSAKey string
	ServersFile, ChargersFile    string
}

// Client is the configuration of a client.
func (t *TLS) Client() *tls.Config {
	return &tls.Config{RootCAs: t.Servers.Pool(), MinVersion: tls.VersionTLS12}
}

// writeTLS writes the files into dir.
func writeTLS(dir string) (*TLS, error) {
	made, err := identities()
	if err != nil {
		return nil, err
	}
	t := &TLS{
		Servers: made.servers, Chargers: made.chargers,
		ServersFile: filepath.Join(dir, "servers.pem"), ChargersFile: filepath.Join(dir, "chargers.pem"),
	}
	if t.ECDSA, t.ECDSAKey, err = made.ecdsa.Write(dir, "ecdsa"); err != nil {
		return nil, err
	}
	if t.RSA, t.RSAKey, err = made.rsa.Write(dir, "rsa"); err != nil {
		return nil, err
	}
	if err := pki.Replace(t.ServersFile, t.Servers.PEM); err != nil {
		return nil, err
	}
	return t, pki.Replace(t.ChargersFile, t.Chargers.PEM)
}

// lines are the settings, as in a config file.
func (t *TLS) lines() []string {
	return []string{
		"listen-tls " + loopbackTLS,
		"tls-cert " + t.ECDSA, "tls-cert " + t.RSA,
		"tls-key " + t.ECDSAKey, "tls-key " + t.RSAKey,
	}
}

// flagsOf turns settings into flags, but for those whose name args has already.
func flagsOf(lines, args []string) (flags []string) {
	given := make(map[string]bool)
	for _, a := range args {
		given[a] = true
	}
	for _, line := range lines {
		if name, value, _ := strings.Cut(line, " "); !given["-"+name] {
			flags = append(flags, "-"+name, value)
		}
	}
	return flags
}

// URLTLS is URL over wss.
func (g *Gateway) URLTLS() string { return "wss://" + g.AddrTLS + "/ocpp" }

// URLs are those that chargers of a mixed load take in turn: half of them ws, half
// wss; two of each, so that the subprotocols, which they take in turn, too, mix.
func (g *Gateway) URLs() []string {
	if g.TLS == nil {
		return []string{g.URL()}
	}
	return []string{g.URL(), g.URL(), g.URLTLS(), g.URLTLS()}
}
