// Package wiretap proves that no nonce is ever used twice: a Tap stands between
// chargers and a gateway's port for wss and keeps every byte of both directions;
// Check opens every record with the secrets that a gateway built with the tag
// holdfast_keylog has written down, whatever processes sealed it.
//
// A record opens only with the sequence number that it was sealed with, so that all
// of them opening, one after the other, also proves that none is missing, repeated or
// out of order. It shares no code with holdfast/conn/record.
//
//	tap.go      the proxy
//	open.go     records to plaintext, TLS 1.2 and 1.3
//	keylog.go   the secrets
package wiretap
