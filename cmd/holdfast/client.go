package main

import (
	"holdfast/cmd/holdfast/config"

	"holdfast/cmd/holdfast/admin"
)

// defaultAdminSocket is where the gateway has it that is not told otherwise.
const defaultAdminSocket = "/run/holdfast/admin.sock"

// client is one for the socket that the command line, or the configuration that
// it names, says.
func (i *invocation) client() (*admin.Client, error) {
	socket := i.socket
	if socket == "" {
		var args []string
		if i.config != "" {
			args = []string{"-config", i.config}
		}
		// Other faults of the configuration are for the gateway to report: it is
		// the one that refuses them.
		c, faults := config.Parse(args)
		if c.Admin == "" {
			return nil, config.Faults(faults)
		}
		socket = c.Admin
	}
	return admin.NewClient(socket), nil
}
