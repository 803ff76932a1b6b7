package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"holdfast/cmd/holdfast/admin"
	"holdfast/cmd/holdfast/config"
)

// A command is what follows `holdfast` on a command line. main, the help and the
// completion of shells know commands and their options from the table alone.
type command struct {
	name    string
	args    []argument
	help    string // one line
	more    string // for its own help
	options func(*invocation) []config.Option
	run     func(*invocation) error
}

// argument is one that has no dash.
type argument struct {
	name     string
	kind     argumentKind
	optional bool
}

type argumentKind uint8

const (
	anything argumentKind = iota
	aCharger
	aProcessor
	aShell
)

// invocation is one command with what was given to it.
type invocation struct {
	command  *command
	raw      []string // everything behind the command's name
	args     []string
	stdout   io.Writer
	stderr   io.Writer
	terminal bool // stdout is one

	config  string
	socket  string
	json    bool
	names   bool
	timeout time.Duration
	code    int
	reason  string
	passwd  passwd
}

// commands are all there are.
func commands() []command {
	return []command{
		{name: "serve", help: "hold connections and relay", options: serveOptions, run: runServeCommand},
		{name: "check", help: "report every fault of the configuration", options: serveOptions, run: runCheck},
		{
			name: "upgrade", help: "replace the running gateway by the binary at its path, closing no connection",
			more:    "Shows what it does. If the upgrade is rolled back, nothing has changed; the reason is\nprinted, and the exit code is 1.\n",
			options: adminOptions, run: runUpgrade,
		},
		{
			name: "status", help: "how the gateway is: connections, processors, queues, the last upgrade",
			options: func(i *invocation) []config.Option {
				return append([]config.Option{config.Define("names", "false", "nothing but the names of the processors", config.Boolean(&i.names))}, jsonOptions(i)...)
			},
			run: runStatus,
		},
		{
			name: "list", args: []argument{{"GLOB", aCharger, true}}, help: "the chargers that are connected",
			more: "GLOB chooses among their identities: * stands for anything, ? for one character,\n[a-z] for one of these.\n",
			options: func(i *invocation) []config.Option {
				return append([]config.Option{config.Define("names", "false", "nothing but the identities", config.Boolean(&i.names))}, jsonOptions(i)...)
			},
			run: runList,
		},
		{
			name: "call", args: []argument{{"ID", aCharger, false}, {"ACTION", anything, false}, {"PAYLOAD", anything, true}}, help: "have a charger do something, and print its answer",
			more: "PAYLOAD is a JSON object, {} if it is left out; - reads it from standard input. The\nanswer is printed as JSON, a CALLERROR goes to standard error. One CALL at a time is with a\ncharger: others wait for their turn within their time.\n",
			options: func(i *invocation) []config.Option {
				return append([]config.Option{config.Define("timeout", "30s", "for the answer; the gateway may lower it (-max-call-timeout)", config.Duration(&i.timeout, time.Millisecond, 24*time.Hour))}, jsonOptions(i)...)
			},
			run: runCall,
		},
		{
			name: "send", args: []argument{{"ID", aCharger, false}, {"MESSAGE", anything, false}}, help: "write an OCPP message to a charger, and wait until it is written",
			more:    "MESSAGE is a JSON array; - reads it from standard input. Nobody waits for an answer: if one\ncomes, it goes to the charger's processor.\n",
			options: orderOptions, run: runSend,
		},
		{
			name: "close", args: []argument{{"ID", aCharger, false}}, help: "close a charger's connection",
			options: func(i *invocation) []config.Option {
				return append([]config.Option{
					config.Define("code", "1000", "close code: 1000, 1001, 1003, 1008, 1011 to 1014, or 3000 to 4999", config.Number(&i.code, 1000, 4999)),
					config.Define("reason", "", "for the charger, at most 123 bytes", config.Text(&i.reason)),
				}, orderOptions(i)...)
			},
			run: runClose,
		},
		{
			name: "tap", args: []argument{{"ID|GLOB", aCharger, false}}, help: "show the messages of chargers, both ways, as they come",
			more:    "Goes on until it is interrupted, across upgrades too. Each line has the time, the charger,\n-> for a message of the charger or <- for one to it, its size, and the message. If it cannot\nbe shown as fast as it comes, chargers do not wait: what was missed is counted.\n",
			options: jsonOptions, run: runTap,
		},
		{
			name: "drain", args: []argument{{"PROCESSOR", aProcessor, false}}, help: "move the chargers of a processor to the others, and wait until it has nothing left",
			more: "Nothing new is delivered to PROCESSOR; what it has it may finish. It is not told and not\nstopped: do that when the command has returned. One that joins again takes part again.\n",
			options: func(i *invocation) []config.Option {
				return append([]config.Option{config.Define("timeout", "60s", "for the processor to finish what it has", config.Duration(&i.timeout, time.Millisecond, 24*time.Hour))}, adminOptions(i)...)
			},
			run: runDrain,
		},
		{
			name: "completion", args: []argument{{"bash|zsh", aShell, false}}, help: "print the completion for a shell",
			more: "For bash: holdfast completion bash > /usr/share/bash-completion/completions/holdfast\nFor zsh:  holdfast completion zsh > /usr/share/zsh/vendor-completions/_holdfast\n",
			run:  runCompletion,
		},
		{
			name: "passwd", args: []argument{{"IDENTITY", anything, false}}, help: "make a charger's entry of the -auth-file",
			more:    "Reads the charger's password from standard input, one line, and prints the entry. With\n-file it puts the entry there; a running gateway notices that by itself.\n",
			options: passwdOptions, run: runPasswd,
		},
		{name: "version", help: "print the version", run: runVersion},
		{name: "help", help: "print this and the options of serve", run: runHelp},
	}
}

func adminOptions(i *invocation) []config.Option {
	return []config.Option{
		config.Define("admin-socket", "", "path of the gateway's socket for operators; without it the one of -config, or "+defaultAdminSocket, config.Text(&i.socket)),
		config.Define("config", "", "configuration of the gateway", config.Text(&i.config)),
	}
}

func jsonOptions(i *invocation) []config.Option {
	return append([]config.Option{config.Define("json", "false", "JSON for scripts", config.Boolean(&i.json))}, adminOptions(i)...)
}

func orderOptions(i *invocation) []config.Option {
	return append([]config.Option{config.Define("timeout", "30s", "for the gateway to do it", config.Duration(&i.timeout, time.Millisecond, 24*time.Hour))}, adminOptions(i)...)
}

func serveOptions(*invocation) []config.Option {
	return append([]config.Option{config.Define("config", "", "file of these options, without the dash, one `name value` a line; a flag wins over it", config.Text(new(string)))}, config.Options(new(config.Config))...)
}

// Exit codes are part of the interface: scripts go by them.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitUnreachable = 3
	exitOffline     = 4
	exitCallError   = 5
	exitTimeout     = 6
	exitClosed      = 7
	exitNotTaken    = 8
)

// exitCodes are what the help says of them.
var exitCodes = []struct {
	code int
	text string
}{
	{0, "done"},
	{exitFailed, "failed for any other reason; an upgrade was rolled back"},
	{exitUsage, "the command line, the configuration or the JSON is at fault; nothing was sent"},
	{exitUnreachable, "no gateway answers, or it does not let this user in"},
	{exitOffline, "the charger, or the processor, is not connected"},
	{exitCallError, "the charger answered with a CALLERROR"},
	{exitTimeout, "the time is over; the charger may have done what it was asked for"},
	{exitClosed, "the connection ended first; the charger may have done what it was asked for"},
	{exitNotTaken, "the gateway did not take the order: the charger does not read, or too many wait"},
}

// exitError is an error that has an exit code of its own.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func exit(code int, format string, args ...any) error {
	return &exitError{code, fmt.Errorf(format, args...)}
}

// exitCode tells of an error, each fault of a configuration on its own line.
func exitCode(err error, stderr io.Writer) int {
	var faults config.Faults
	var own *exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &faults):
		for _, f := range faults {
			fmt.Fprintln(stderr, "holdfast:", f)
		}
		return exitUsage
	}
	fmt.Fprintln(stderr, "holdfast:", err)
	if errors.As(err, &own) {
		return own.code
	}
	if errors.As(err, new(*admin.UnreachableError)) {
		return exitUnreachable
	}
	return exitFailed
}

// parse reads what was given to the command: options and arguments, in any
// order; behind -- there are only arguments.
func (i *invocation) parse() error {
	var opts []config.Option
	if i.command.options != nil {
		opts = i.command.options(i)
	}
	var errs config.Faults
	i.args, errs = config.ParseCommand(i.raw, opts)
	least := 0
	for _, a := range i.command.args {
		if !a.optional {
			least++
		}
	}
	if len(i.args) < least || len(i.args) > len(i.command.args) {
		errs = append(errs, fmt.Errorf("usage: %s", i.command.usage()))
	}
	if len(errs) > 0 {
		return errs
	}
	return nil
}

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

func runVersion(i *invocation) error {
	printVersion(i.stdout)
	return nil
}

func runHelp(i *invocation) error {
	printUsage(i.stdout)
	fmt.Fprint(i.stdout, "\nOptions of serve and check. The same names, without the dash, stand in the -config\nfile, one `name value` a line; a flag given wins over the file.\n\n")
	printOptions(i.stdout, config.Options(new(config.Config)))
	printExitCodes(i.stdout)
	return nil
}

func commandOf(name string) *command {
	all := commands()
	if n := slices.IndexFunc(all, func(c command) bool { return c.name == name }); n >= 0 {
		return &all[n]
	}
	return nil
}
