package credentials

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"holdfast/cmd/holdfast/config"
	"holdfast/conn"
	"holdfast/conn/record"
)

// Certificates are what the TLS listeners serve with: files, read again when
// they change.
type Certificates struct {
	cfg     *config.Config
	Tickets *Tickets
	current atomic.Pointer[map[string]*tls.Config] // by client-auth
	files   atomic.Pointer[[]certificateFile]
}

// newCertificates reads the files; the error names the one at fault.
func newCertificates(cfg *config.Config) (*Certificates, error) {
	c := &Certificates{cfg: cfg, Tickets: newTickets()}
	c.Tickets.changed = c.setTickets
	return c, c.load()
}

// load reads all files, and serves with them from then on if each is right.
func (c *Certificates) load() error {
	base, files, faults := readCertificateFiles(c.cfg)
	if len(faults) > 0 {
		return config.Faults(faults)
	}
	base.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		return chooseCertificate(hello, base.Certificates), nil
	}
	configs := make(map[string]*tls.Config, len(config.ClientAuths))
	for i, how := range []tls.ClientAuthType{tls.NoClientCert, tls.VerifyClientCertIfGiven, tls.RequireAndVerifyClientCert} {
		with := base.Clone()
		with.ClientAuth = how
		configs[config.ClientAuths[i]] = with
	}
	c.current.Store(&configs)
	c.files.Store(&files)
	c.setTickets(c.Tickets.all())
	return nil
}

// readCertificateFiles reads all files, and returns every fault of every one. base has
// what is right.
func readCertificateFiles(cfg *config.Config) (base *tls.Config, files []certificateFile, faults []error) {
	base = &tls.Config{
		MinVersion:   tls.VersionTLS12,
		CipherSuites: record.Suites12(cfg.TLSLegacy),
	}
	for i := range min(len(cfg.TLSCerts), len(cfg.TLSKeys)) {
		file, err := readCertificates("tls-cert", cfg.TLSCerts[i], true)
		if err != nil {
			faults = append(faults, cfg.Fault("tls-cert", i, err))
		}
		key, keyErr := readKey(cfg.TLSKeys[i])
		if keyErr != nil {
			faults = append(faults, cfg.Fault("tls-key", i, keyErr))
		}
		if err != nil || keyErr != nil {
			continue
		}
		pair, err := file.pair(key)
		if err != nil {
			faults = append(faults, cfg.Fault("tls-key", i, fmt.Errorf("tls-cert %s with tls-key %s: %w", cfg.TLSCerts[i], cfg.TLSKeys[i], err)))
			continue
		}
		base.Certificates = append(base.Certificates, pair)
		files = append(files, file)
	}
	if cfg.TLSClientCA != "" {
		file, err := readCertificates(clientCA, cfg.TLSClientCA, false)
		if err != nil {
			return base, files, append(faults, cfg.Fault(clientCA, 0, err))
		}
		base.ClientCAs = x509.NewCertPool()
		for _, cert := range file.certs {
			base.ClientCAs.AddCert(cert)
		}
		files = append(files, file)
	}
	return base, files, faults
}

// chooseCertificate returns the first that the client can use, at best one for the
// name that it asks for. crypto/tls alone would serve the first of all to a client
// that knows the gateway by another name than the certificates do, as many chargers
// do without caring, and fail with one that can only RSA, or only ECDSA.
func chooseCertificate(hello *tls.ClientHelloInfo, all []tls.Certificate) *tls.Certificate {
	nameless := *hello
	nameless.ServerName = ""
	for _, client := range []*tls.ClientHelloInfo{hello, &nameless} {
		for i := range all {
			if client.SupportsCertificate(&all[i]) == nil {
				return &all[i]
			}
		}
	}
	return &all[0]
}

func (c *Certificates) setTickets(keys [][32]byte) {
	for _, config := range *c.current.Load() {
		config.SetSessionTicketKeys(keys)
	}
}

// Config is what a handshake is done with now.
func (c *Certificates) Config(clientAuth string) *tls.Config { return (*c.current.Load())[clientAuth] }

// clientCA is the option of the authorities for chargers' certificates.
const clientCA = "tls-client-ca"

// checkFiles returns what chargers will refuse, and what an operator should know.
func checkFiles(files []certificateFile, now time.Time) (faults, warnings []error) {
	for _, f := range files {
		server := f.option != clientCA
		wrong, soon := f.checkDates(now, server)
		faults, warnings = append(faults, wrong...), append(warnings, soon...)
		if server {
			warnings = append(warnings, f.checkChain()...)
		} else {
			warnings = append(warnings, f.checkAuthorities()...)
		}
	}
	return faults, warnings
}

// Held is one certificate of a file in use.
type Held struct {
	File    string
	Subject string
	Ends    time.Time
}

// Held returns all certificates of all files, in their order.
func (c *Certificates) Held() (all []Held) {
	for _, f := range *c.files.Load() {
		for _, cert := range f.certs {
			all = append(all, Held{f.path, subject(cert), cert.NotAfter})
		}
	}
	return all
}

// Watch reads the files again when they change; those that are wrong change
// nothing.
func (c *Certificates) Watch(log *slog.Logger) {
	files := slices.Concat(c.cfg.TLSCerts, c.cfg.TLSKeys)
	if c.cfg.TLSClientCA != "" {
		files = append(files, c.cfg.TLSClientCA)
	}
	watchFiles(files, func() {
		if err := c.load(); err != nil {
			log.Error("certificates stay as they were", "err", err)
			return
		}
		log.Info("certificates read again", "files", len(files))
		c.warn(log)
	})
}

// Warn writes what is wrong with the certificates to the log: now, and then every day.
func (c *Certificates) Warn(log *slog.Logger) {
	c.warn(log)
	go func() {
		for range time.Tick(24 * time.Hour) {
			c.warn(log)
		}
	}()
}

func (c *Certificates) warn(log *slog.Logger) {
	faults, warnings := checkFiles(*c.files.Load(), time.Now())
	for _, err := range faults {
		log.Error("chargers may refuse the certificate", "err", err)
	}
	for _, err := range warnings {
		log.Warn("a certificate needs attention", "reason", err.Error())
	}
}

// CertificateOf is what is kept of a charger's certificate; nil if it sent none.
func CertificateOf(state tls.ConnectionState) *conn.Certificate {
	if len(state.PeerCertificates) == 0 {
		return nil
	}
	leaf := state.PeerCertificates[0]
	c := &conn.Certificate{Subject: leaf.Subject.String()}
	c.Names = append(append(c.Names, leaf.DNSNames...), leaf.EmailAddresses...)
	for _, u := range leaf.URIs {
		c.Names = append(c.Names, u.String())
	}
	for _, ip := range leaf.IPAddresses {
		c.Names = append(c.Names, ip.String())
	}
	return c
}

// errOtherCertificate refuses a charger that connects as another.
var errOtherCertificate = errors.New("the certificate is not of a charger of this identity")

// CheckCertificate holds a charger's certificate against its identity. where is
// cn, san, any or config.IdentityByProcessor.
func CheckCertificate(where, identity string, leaf *x509.Certificate, kept *conn.Certificate) error {
	if where == config.IdentityByProcessor {
		return nil
	}
	if where != "san" && leaf.Subject.CommonName == identity {
		return nil
	}
	if where != "cn" && slices.Contains(kept.Names, identity) {
		return nil
	}
	return errOtherCertificate
}
