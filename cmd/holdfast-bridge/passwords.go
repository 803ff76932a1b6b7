package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// readPasswords reads the credentials for central systems, by identity.
func readPasswords(path string) (map[string]string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	p := map[string]string{}
	for i, line := range bytes.Split(b, []byte("\n")) {
		if line = bytes.TrimRight(line, "\r"); len(line) == 0 || line[0] == '#' {
			continue
		}
		identity, password, ok := cutIdentity(string(line))
		if !ok || identity == "" || password == "" {
			return nil, fmt.Errorf("%s:%d: want an identity, a space and a password; an identity with a space stands in quotes", path, i+1)
		}
		if _, twice := p[identity]; twice {
			return nil, fmt.Errorf("%s:%d: %s stands there twice", path, i+1, identity)
		}
		p[identity] = password
	}
	return p, nil
}

func cutIdentity(line string) (identity, password string, ok bool) {
	quoted, err := strconv.QuotedPrefix(line)
	if err != nil {
		return strings.Cut(line, " ")
	}
	if identity, err = strconv.Unquote(quoted); err != nil {
		return "", "", false
	}
	password, ok = strings.CutPrefix(line[len(quoted):], " ")
	return identity, password, ok
}
