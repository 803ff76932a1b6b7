package wiretap

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// secrets are the lines of an NSS key log: by client random, then by label.
type secrets map[string]map[string][]byte

func parseKeyLog(text string) (secrets, error) {
	all := make(secrets)
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) != 3 {
			return nil, fmt.Errorf("key log: %q", line)
		}
		random, err := hex.DecodeString(f[1])
		if err != nil {
			return nil, fmt.Errorf("key log: %w", err)
		}
		secret, err := hex.DecodeString(f[2])
		if err != nil {
			return nil, fmt.Errorf("key log: %w", err)
		}
		if all[string(random)] == nil {
			all[string(random)] = make(map[string][]byte)
		}
		all[string(random)][f[0]] = secret
	}
	return all, nil
}
