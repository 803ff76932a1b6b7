//go:build holdfast_future

package conn

import (
	"os"

	"holdfast/unixipc/tlv"
)

// appendFuture adds what HOLDFAST_FUTURE selects: an optional field, which others
// skip, or a required one, which they refuse.
func appendFuture(dst []byte) []byte {
	switch os.Getenv("HOLDFAST_FUTURE") {
	case "optional":
		return tlv.AppendBytes(dst, 1000, "of a later version")
	case "required":
		return tlv.AppendRequired(dst, 1000, []byte("of a later version"))
	}
	return dst
}
