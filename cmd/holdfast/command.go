package main

import (
	"fmt"
	"io"
	"slices"
	"time"

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
		{name: "serve", help: "hold connections and relay", options: serveOptions, run: runServe},
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

func commandOf(name string) *command {
	all := commands()
	if n := slices.IndexFunc(all, func(c command) bool { return c.name == name }); n >= 0 {
		return &all[n]
	}
	return nil
}
