// Echo sends each message back: as a WebSocket server, or as a processor of
// Holdfast.
//
//	echo -mode tcp -listen 127.0.0.1:0           # the limit of the machine
//	echo -mode unix -listen /tmp/echo.sock       # behind nginx
//	echo -mode processor -socket /tmp/proc.sock  # behind Holdfast
//	echo -mode sdk -socket /tmp/proc.sock        # the same with the package proc
//	echo -mode central -listen 127.0.0.1:0       # as a central system: CALLs come back as CALLRESULTs
//
// It prints one line of JSON when it is ready: {"ready":"ADDRESS"}; the SDK logs
// "joined" instead.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"holdfast/tests/bench/peer"
)

func main() {
	mode := flag.String("mode", "tcp", "tcp, unix, central, processor or sdk")
	listen := flag.String("listen", "127.0.0.1:0", "tcp, unix: `address` or path")
	socket := flag.String("socket", "", "processor, sdk: `path` of the gateway's processor socket")
	wait := flag.Duration("wait", 10*time.Second, "processor: wait so long for the socket")
	flag.Parse()
	runtime.GOMAXPROCS(1)

	var err error
	switch *mode {
	case "tcp", "unix", "central":
		var fd int
		var at string
		if fd, at, err = peer.Listen(*listen); err == nil {
			ready(at)
			if *mode == "central" {
				err = peer.Central(fd)
			} else {
				err = peer.Echo(fd)
			}
		}
	case "processor":
		err = new(peer.Processor).Run(*socket, *wait, func() { ready(*socket) })
	case "sdk":
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		err = peer.SDK(ctx, *socket)
	default:
		err = fmt.Errorf("no mode %q", *mode)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		os.Exit(1)
	}
}

func ready(at string) {
	_ = json.NewEncoder(os.Stdout).Encode(map[string]string{"ready": at})
}
