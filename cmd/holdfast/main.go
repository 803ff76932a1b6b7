package main

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// version of the program; the build sets it.
var version = "0.1.0-dev"

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is main with its exit code; exitCodes says which there are.
func run(args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		printUsage(stderr)
		return exitUsage
	}
	name := strings.TrimLeft(args[0], "-")
	if name == "h" {
		name = "help"
	}
	c := commandOf(name)
	if c == nil {
		fmt.Fprintf(stderr, "holdfast: unknown command %q; `holdfast help` lists them\n", args[0])
		return exitUsage
	}
	for _, a := range args[1:] {
		if a == "--" {
			break
		}
		if a == "-h" || a == "-help" || a == "--help" {
			c.printHelp(stdout)
			return 0
		}
	}
	return exitCode(c.run(&invocation{command: c, raw: args[1:], stdout: stdout, stderr: stderr, terminal: isTerminal(stdout)}), stderr)
}
