//go:build holdfast_keylog

package record

import (
	"fmt"
	"os"
	"strings"
)

// keyLog appends the secrets of a handshake to the file that HOLDFAST_KEYLOG
// names, in the format of NSS, for a test that opens what was on the wire.
func keyLog(s secrets) {
	path := os.Getenv("HOLDFAST_KEYLOG")
	if path == "" {
		return
	}
	var b strings.Builder
	for label, one := range s {
		fmt.Fprintf(&b, "%s %x %x\n", label, one.random, one.secret)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := f.WriteString(b.String()); err != nil {
		panic(err)
	}
}
