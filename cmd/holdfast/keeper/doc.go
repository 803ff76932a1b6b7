// Package keeper is the process `holdfast keep`: it keeps the gateway's connections over a
// crash of the gateway. What it does is in unixipc/keep; this package is the process around
// it: signals, the service manager, its own release.
//
//	SIGTERM, SIGINT   it exits. It ends no connection: a gateway that lives serves on
//	                  without a keeper.
//	SIGHUP            it executes the program that is at its path now, in the same process,
//	                  and keeps everything. If that fails it goes on as before.
//
// One goroutine does everything. Signals come to it as bytes of a pipe, so that it waits in
// one place.
package keeper
