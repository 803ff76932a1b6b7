// Package tlsclients holds connections of TLS clients that others wrote across
// upgrades, so that what Holdfast believes about TLS is not only checked against
// itself:
//
//	pipe_test.go      openssl s_client, gnutls-cli and Python's ssl, each with the
//	                  suites it has; a test speaks WebSocket through them, and has
//	                  them change keys where they can
//	library_test.go   Node's tls through ocpp-rpc, Go's crypto/tls through ocpp-go
//	browser_test.go   the WebSocket of headless Chromium
//	testssl_test.go   testssl.sh looks for what should not be there
//
// A test skips with a message when its program is missing; make setup installs all.
package tlsclients
