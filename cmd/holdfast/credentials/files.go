package credentials

import (
	"time"

	"holdfast/cmd/holdfast/config"
)

// Read reads what the listeners need of files; nil for what they do not.
func Read(c *config.Config) (certs *Certificates, words *Passwords, err error) {
	if len(c.ListenTLS) > 0 {
		if certs, err = newCertificates(c); err != nil {
			return nil, nil, err
		}
	}
	if c.AuthFile != "" {
		if words, err = NewPasswords(c.AuthFile, c.AuthHex); err != nil {
			return nil, nil, err
		}
	}
	return certs, words, nil
}

// Check reports what is wrong with the files that the configuration names.
func Check(c *config.Config) []error {
	certs, _, err := Read(c)
	if err != nil {
		return []error{err}
	}
	if certs == nil {
		return nil
	}
	return certs.Expired(time.Now())
}
