package credentials

import (
	"time"

	"holdfast/cmd/holdfast/config"
)

// Read reads what the listeners need of files; nil for what they do not.
func Read(c *config.Config) (certificates *Certificates, passwords *Passwords, err error) {
	if len(c.ListenTLS) > 0 {
		if certificates, err = newCertificates(c); err != nil {
			return nil, nil, err
		}
	}
	if c.AuthFile != "" {
		if passwords, err = NewPasswords(c.AuthFile, c.AuthHex); err != nil {
			return nil, nil, err
		}
	}
	return certificates, passwords, nil
}

// Check reports what is wrong with the files that the configuration names.
func Check(c *config.Config) []error {
	certificates, _, err := Read(c)
	if err != nil {
		return []error{err}
	}
	if certificates == nil {
		return nil
	}
	return certificates.expired(time.Now())
}
