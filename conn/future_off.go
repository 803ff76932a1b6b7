//go:build !holdfast_future

package conn

// appendFuture is where a build with the tag holdfast_future adds fields that
// no version knows, to prove that readers treat them as they must.
func appendFuture(dst []byte) []byte { return dst }
