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

// Check reports what is wrong with the files that the configuration names, and what an
// operator should know of them.
func Check(c *config.Config) (faults, warnings []error) {
	if c.AuthFile != "" {
		if _, err := NewPasswords(c.AuthFile, c.AuthHex); err != nil {
			faults = append(faults, err)
		}
	}
	if len(c.ListenTLS) > 0 {
		certificates, err := newCertificates(c)
		if err != nil {
			return append(faults, err), nil
		}
		wrong, soon := certificates.check(time.Now())
		return append(faults, wrong...), soon
	}
	return faults, nil
}
