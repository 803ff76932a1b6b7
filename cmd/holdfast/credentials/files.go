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

// Check reports every fault of the files that the configuration names, and what an
// operator should know of them.
func Check(c *config.Config) (faults, warnings []error) {
	if c.AuthFile != "" {
		if _, err := NewPasswords(c.AuthFile, c.AuthHex); err != nil {
			lines, ok := err.(config.Faults)
			if !ok {
				lines = config.Faults{err}
			}
			for _, err := range lines {
				faults = append(faults, c.Fault("auth-file", 0, err))
			}
		}
	}
	if len(c.ListenTLS) == 0 {
		return faults, nil
	}
	_, files, wrong := readCertificateFiles(c)
	faults = append(faults, wrong...)
	wrong, warnings = checkFiles(files, time.Now())
	return append(faults, wrong...), warnings
}
