// Package forwarded finds the address of a charger that a balancer or a proxy has
// connected for: in the header of the PROXY protocol, which comes before everything else
// (proxy.go), or in the request's X-Forwarded-For or Forwarded (header.go).
//
// Whoever may connect could claim any address, so the caller asks only peers that are
// trusted. It imports nothing of Holdfast, and keeps no state: any goroutine may call it.
package forwarded
