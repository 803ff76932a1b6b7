package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"holdfast/cmd/holdfast/config"
)

// usage is the command on one line.
func (c *command) usage() string {
	line := "holdfast " + c.name
	if c.options != nil {
		line += " [options]"
	}
	for _, a := range c.args {
		if a.optional {
			line += " [" + a.name + "]"
		} else {
			line += " " + a.name
		}
	}
	return line
}

// printHelp is the help of one command.
func (c *command) printHelp(w io.Writer) {
	fmt.Fprintf(w, "usage: %s\n\n%s.\n", c.usage(), sentence(c.help))
	if c.more != "" {
		fmt.Fprintf(w, "\n%s", c.more)
	}
	if c.options != nil {
		fmt.Fprint(w, "\noptions:\n")
		printOptions(w, c.options(new(invocation)))
	}
	printExitCodes(w)
}

func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func printExitCodes(w io.Writer) {
	fmt.Fprint(w, "\nexit codes:\n")
	for _, e := range exitCodes {
		fmt.Fprintf(w, "  %d  %s\n", e.code, e.text)
	}
}

func printOptions(w io.Writer, opts []config.Option) {
	for _, o := range opts {
		def := o.Default
		if def == "" {
			def = "none"
		}
		fmt.Fprintf(w, "  -%s\n        %s (default: %s)\n", o.Name, o.Help, def)
	}
}

// printUsage lists the commands.
func printUsage(w io.Writer) {
	fmt.Fprint(w, "Holdfast holds the WebSocket of every EV charger in one small process and relays\neach message to local processors over a Unix socket.\n\nusage:\n")
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, c := range commands() {
		fmt.Fprintf(t, "  %s\t%s\n", strings.Replace(c.usage(), " [options]", "", 1), c.help)
	}
	_ = t.Flush()
	fmt.Fprint(w, "\n`holdfast COMMAND -help` tells more of each.\n")
}

func runHelp(i *invocation) error {
	printUsage(i.stdout)
	fmt.Fprint(i.stdout, "\nOptions of serve and check. The same names, without the dash, stand in the -config\nfile, one `name value` a line; a flag given wins over the file.\n\n")
	printOptions(i.stdout, config.Options(new(config.Config)))
	printExitCodes(i.stdout)
	return nil
}
