// Package credentials reads who may connect and by what chargers know the gateway:
// the auth-file with hashed passwords, certificates with their keys, the
// authorities for chargers' certificates, and the keys of TLS session tickets. Files
// are read whole or refused whole, and read again when they change.
//
// It imports config for the names of the files and conn for identities and
// certificates. What handshakes use is replaced as a whole (atomic pointers), so
// any goroutine may ask at any time.
package credentials
