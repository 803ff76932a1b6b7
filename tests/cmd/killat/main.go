// Killat runs a program that is killed at a system call: see package holdfast/tests/killat.
package main

import (
	"fmt"
	"os"

	"holdfast/tests/killat"
)

func main() {
	if err := killat.Main(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "killat:", err)
		os.Exit(1)
	}
}
