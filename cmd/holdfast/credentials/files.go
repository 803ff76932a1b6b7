package credentials

import (
	"errors"
	"log/slog"
	"time"

	"holdfast/cmd/holdfast/config"
)

// Files are what the listeners need of files; nil for what they do not.
type Files struct {
	Certificates *Certificates
	Passwords    *Passwords
	Profiles     *Profiles
	Blocks       *Blocks
}

// Read reads them.
func Read(c *config.Config) (f Files, err error) {
	if len(c.ListenTLS) > 0 {
		if f.Certificates, err = newCertificates(c); err != nil {
			return f, err
		}
	}
	if c.AuthFile != "" {
		if f.Passwords, err = NewPasswords(c.AuthFile, c.AuthHex); err != nil {
			return f, err
		}
	}
	if c.SecurityProfiles != "" {
		if f.Profiles, err = NewProfiles(c.SecurityProfiles); err != nil {
			return f, err
		}
	}
	if c.Blocks != "" {
		f.Blocks, err = NewBlocks(c.Blocks)
	}
	return f, err
}

// Watch reads them again when they change; the certificates' tickets get new keys as
// time goes on.
func (f *Files) Watch(log *slog.Logger) {
	if c := f.Certificates; c != nil {
		c.Warn(log)
		c.Watch(log)
		go c.Tickets.Run()
	}
	if f.Passwords != nil {
		f.Passwords.Watch(log)
	}
	if f.Profiles != nil {
		f.Profiles.Watch(log)
	}
	if f.Blocks != nil {
		f.Blocks.Watch(log)
	}
}

// Check reports every fault of the files that the configuration names, and what an
// operator should know of them.
func Check(c *config.Config) (faults, warnings []error) {
	add := func(option string, err error) {
		var lines config.Faults
		if err != nil && !errors.As(err, &lines) {
			lines = config.Faults{err}
		}
		for _, err := range lines {
			faults = append(faults, c.Fault(option, 0, err))
		}
	}
	if c.AuthFile != "" {
		_, err := NewPasswords(c.AuthFile, c.AuthHex)
		add("auth-file", err)
	}
	if c.SecurityProfiles != "" {
		add("security-profiles", CheckProfiles(c.SecurityProfiles))
	}
	if c.Blocks != "" {
		add("blocks", CheckBlocks(c.Blocks))
	}
	if len(c.ListenTLS) == 0 {
		return faults, nil
	}
	_, files, wrong := readCertificateFiles(c)
	faults = append(faults, wrong...)
	wrong, warnings = checkFiles(files, time.Now())
	return append(faults, wrong...), warnings
}
