package main

import (
	"time"

	"holdfast/cmd/holdfast/config"
)

// readFiles reads what the listeners need of files; nil for what they do not.
func readFiles(c *config.Config) (certs *certificates, words *passwords, err error) {
	if len(c.ListenTLS) > 0 {
		if certs, err = newCertificates(c); err != nil {
			return nil, nil, err
		}
	}
	if c.AuthFile != "" {
		if words, err = newPasswords(c.AuthFile, c.AuthHex); err != nil {
			return nil, nil, err
		}
	}
	return certs, words, nil
}

// checkFiles reports what is wrong with the files that the configuration names.
func checkFiles(c *config.Config) []error {
	certs, _, err := readFiles(c)
	if err != nil {
		return []error{err}
	}
	if certs == nil {
		return nil
	}
	return certs.expired(time.Now())
}
