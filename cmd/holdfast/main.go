// Holdfast holds the WebSocket connections of EV chargers and relays their
// messages to processors over Unix sockets.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// version of the program; the build sets it.
var version = "0.1.0-dev"

const usage = `Holdfast holds the WebSocket of every EV charger in one small process and relays
each message to local processors over a Unix socket.

usage:
  holdfast serve   [-config FILE] [flags]   hold connections and relay
  holdfast check   [-config FILE] [flags]   report every fault of the configuration
  holdfast upgrade [-admin-socket PATH]     replace the running gateway by the binary at
                                            its path, closing no connection
  holdfast version                          print the version
  holdfast help                             print this and all flags

`

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is main with its exit code: 0 for success, 1 for a failure, 2 for a
// command line or configuration that is at fault.
func run(args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return 2
	}
	switch args[0] {
	case "serve", "check":
		for _, a := range args[1:] {
			if a == "-h" || a == "-help" || a == "--help" {
				printHelp(stdout)
				return 0
			}
		}
		cfg, errs := parseConfig(args[1:])
		var err error
		switch {
		case args[0] == "serve":
			err = runServe(cfg, errs, stderr)
		case len(errs) > 0:
			err = configError(errs)
		default:
			fmt.Fprintln(stdout, "configuration is valid")
		}
		return exitCode(err, stderr)
	case "upgrade":
		return exitCode(runUpgrade(args[1:], stdout), stderr)
	case "version", "-version", "--version":
		printVersion(stdout)
		return 0
	case "help", "-h", "-help", "--help":
		printHelp(stdout)
		return 0
	}
	fmt.Fprintf(stderr, "holdfast: unknown command %q; `holdfast help` lists them\n", args[0])
	return 2
}

// exitCode tells of an error, each fault of a configuration on its own line.
func exitCode(err error, stderr io.Writer) int {
	var faults configError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &faults):
		for _, f := range faults {
			fmt.Fprintln(stderr, "holdfast:", f)
		}
		return 2
	}
	fmt.Fprintln(stderr, "holdfast:", err)
	return 1
}

func printHelp(w io.Writer) {
	fmt.Fprint(w, usage)
	fmt.Fprint(w, "Flags of serve and check. The same names, without the dash, stand in the -config\nfile, one `name value` a line; a flag given wins over the file.\n\n")
	for _, o := range options(new(config)) {
		def := o.def
		if def == "" {
			def = "none"
		}
		fmt.Fprintf(w, "  -%s\n        %s (default: %s)\n", o.name, o.help, def)
	}
}
