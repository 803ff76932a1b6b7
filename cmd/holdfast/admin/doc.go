// Package admin is the operators' protocol: HTTP over a Unix socket.
//
//	types.go           what both sides share
//	client.go          what the commands of holdfast ask with
//	server.go          the gateway's side, which acts on a Gateway (gateway.go)
//	upgraderequest.go  an upgrade that somebody watches
//	rights.go          who may use the socket
//
// It imports config for the groups of the system, gate for its listener, and
// unixipc. Server.Run takes one goroutine, and http.Server one for each request;
// none of them touches a loop but through Gateway.
package admin
