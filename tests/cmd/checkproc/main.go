// Checkproc is a processor that answers every CALL and notes each message in a
// ledger before it acknowledges it, so that a test can check the order in which
// processors saw the messages. It speaks the processor protocol by itself, without
// the package proc.
//
// It is ready when it prints "ready" on standard output, and drains on SIGTERM.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"holdfast/tests/ledger"
)

func main() {
	var (
		socket = flag.String("socket", "", "the gateway's socket for processors")
		name   = flag.String("name", "check", "name of this processor")
		path   = flag.String("ledger", "", "file to append to")
		delay  = flag.Duration("delay", 0, "work on each batch of messages for this long")
	)
	flag.Parse()
	if err := run(*socket, *name, *path, *delay); err != nil {
		fmt.Fprintln(os.Stderr, "checkproc:", err)
		os.Exit(1)
	}
}

func run(socket, name, path string, delay time.Duration) error {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM, syscall.SIGINT)

	var links []*link
	for loop, loops := 0, 1; loop < loops; loop++ {
		w, err := ledger.Open(path, name)
		if err != nil {
			return err
		}
		l, n, err := join(socket, name, loop)
		if err != nil {
			return err
		}
		l.ledger, l.delay, loops = w, delay, n
		links = append(links, l)
	}
	fmt.Println("ready")

	go func() {
		<-term
		for _, l := range links {
			l.drain()
		}
	}()
	errs := make([]error, len(links))
	var wg sync.WaitGroup
	for i, l := range links {
		wg.Go(func() { errs[i] = l.serve() })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
