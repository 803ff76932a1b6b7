// Package bench measures Holdfast against nginx and against the bare limit of
// the machine, and how much a held connection costs. It has no code itself:
//
//	cmd/load        a WebSocket load generator: one epoll loop, raw sockets
//	cmd/echo        what answers it: bare WebSocket echo, or an echoing processor
//	cmd/relaybench  make bench-relay: Holdfast, nginx and bare, side by side
//	cmd/holdbench   make bench-hold: bytes and CPU time per idle connection
//
//	epoll, ws, hist the parts of load and echo: readiness, frames, latencies
//	load, peer      load and echo as packages, for what runs them in-process
//	procfs, sut     the system under test: its processes, their CPU and memory
//
// Everything runs on one machine over loopback. What is measured is pinned to
// CPU 0, what loads it to CPU 1.
package bench
