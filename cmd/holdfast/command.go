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
	force    bool
	terminal bool // stdout is one

	config  string
	socket  string
	json    bool
	names   bool
	timeout time.Duration
	code    int
	reason  string
	drop    bool
	length  time.Duration // of a block
	yes     bool
	rate    int
	passwd  passwd
	keep    keepFor
}

// commands are all there are.
func commands() []command {
	return []command{
		{name: "serve", help: "hold the connections of chargers and relay their messages", options: serveOptions, run: runServe},
		{
			name: "check", help: "report every fault of the configuration and of the files that it names",
			more: "Run as root it reads them as the user that owns the admin socket, or else as holdfast, if\nthere is such a user: what that user may not read, a reload could not. Warnings do not\nchange the exit code.\n", options: serveOptions, run: runCheck,
		},
		{
			name: "upgrade", help: "replace the running gateway by the binary at its path; no connection closes",
			more:    "Prints its progress. If the upgrade is rolled back, nothing has changed: the command prints\nthe reason, and its exit code is 1.\n",
			options: adminOptions, run: runUpgrade,
		},
		{
			name: "status", help: "show connections, processors, queues and the last upgrade",
			options: func(i *invocation) []config.Option {
				return append([]config.Option{config.Define("names", "false", "print only the names of the processors", config.Boolean(&i.names))}, jsonOptions(i)...)
			},
			run: runStatus,
		},
		{
			name: "list", args: []argument{{"GLOB", aCharger, true}}, help: "list the chargers that are connected",
			more: "GLOB selects identities: * matches anything, ? one character, [a-z] one character of a range.\n",
			options: func(i *invocation) []config.Option {
				return append([]config.Option{config.Define("names", "false", "print only the identities", config.Boolean(&i.names))}, jsonOptions(i)...)
			},
			run: runList,
		},
		{
			name: "call", args: []argument{{"ID|GLOB", aCharger, false}, {"ACTION", anything, false}, {"PAYLOAD", anything, true}}, help: "send a charger a CALL, and print its answer",
			more: "PAYLOAD is a JSON object, by default {}; - reads it from standard input. The answer is\nprinted as JSON; a CALLERROR goes to standard error. A charger gets one CALL at a time. The\nothers wait for their turn, and their time limits run meanwhile. " + globText,
			options: func(i *invocation) []config.Option {
				return append([]config.Option{config.Define("timeout", "30s", "time limit for the answer; the gateway may lower it (-max-call-timeout)", config.Duration(&i.timeout, time.Millisecond, 24*time.Hour))}, append(globOptions(i), jsonOptions(i)...)...)
			},
			run: runCall,
		},
		{
			name: "send", args: []argument{{"ID|GLOB", aCharger, false}, {"MESSAGE", anything, false}}, help: "write an OCPP message to a charger, and wait until it is written",
			more:    "MESSAGE is a JSON array; - reads it from standard input. The command waits for no answer: if\none comes, it goes to the charger's processor. " + globText,
			options: bulkOptions, run: runSend,
		},
		{
			name: "close", args: []argument{{"ID|GLOB", aCharger, false}}, help: "close a charger's connection",
			more: globText,
			options: func(i *invocation) []config.Option {
				return append([]config.Option{
					config.Define("code", "", "close code: 1000 (the default), 1001, 1003, 1008, 1011 to 1014, or 3000 to 4999", config.Number(&i.code, 1000, 4999)),
					config.Define("reason", "", "reason that the charger gets, at most 123 bytes", config.Text(&i.reason)),
					config.Define("drop", "false", "send no Close frame: the charger sees its TCP connection end", config.Boolean(&i.drop)),
				}, bulkOptions(i)...)
			},
			run: runClose,
		},
		{
			name: "block", args: []argument{{"ID|ADDRESS|CIDR", aCharger, false}}, help: "keep a charger, or a range of addresses, from connecting, and close what is connected",
			more: "Whoever is blocked gets 403. Blocks survive upgrades and restarts: they are in the file of the\noption blocks. Another block of the same target takes the place of the first.\n",
			options: func(i *invocation) []config.Option {
				return append([]config.Option{
					config.Define("for", "0s", "how long; 0s: for ever", config.Duration(&i.length, 0, 10*365*24*time.Hour)),
					config.Define("reason", "", "for the log and for blocks; the charger does not get it", config.Text(&i.reason)),
				}, adminOptions(i)...)
			},
			run: runBlock,
		},
		{
			name: "unblock", args: []argument{{"ID|ADDRESS|CIDR", anything, false}}, help: "take a block back",
			options: adminOptions, run: runUnblock,
		},
		{name: "blocks", help: "list who is blocked, until when and why", options: jsonOptions, run: runBlocks},
		{
			name: "tap", args: []argument{{"ID|GLOB", aCharger, false}}, help: "show the messages of chargers, both ways, as they pass",
			more:    "Runs until it is interrupted, across upgrades too. A line has the time, the charger, -> for a\nmessage from the charger or <- for one to it, the size, and the message. Chargers never wait\nfor it: messages that it is too slow to show are counted instead.\n",
			options: jsonOptions, run: runTap,
		},
		{
			name: "drain", args: []argument{{"PROCESSOR", aProcessor, false}}, help: "move the chargers of a processor to the others, and wait until nothing is left with it",
			more: "PROCESSOR gets no new deliveries, and may finish those that it has. The command neither\nnotifies nor stops it: stop it when the command has returned. A processor that joins again\ngets its share again, and so does one that is undrained.\n",
			options: func(i *invocation) []config.Option {
				return append([]config.Option{
					config.Define("force", "false", "also if no other processor takes the subprotocols of this one", config.Boolean(&i.force)),
					config.Define("timeout", "60s", "time limit for the processor to finish its deliveries", config.Duration(&i.timeout, time.Millisecond, 24*time.Hour)),
				}, adminOptions(i)...)
			},
			run: runDrain,
		},
		{
			name: "undrain", args: []argument{{"PROCESSOR", aProcessor, false}}, help: "let a processor that was drained get its share of the chargers again",
			more:    "Takes drain back, whether that has ended or not. A processor that asked for it itself, because\nit is about to stop, is not undrained.\n",
			options: adminOptions, run: runDrain,
		},
		{
			name: "completion", args: []argument{{"bash|zsh", aShell, false}}, help: "print the completion script for a shell",
			more: "For bash: holdfast completion bash > /usr/share/bash-completion/completions/holdfast\nFor zsh:  holdfast completion zsh > /usr/share/zsh/vendor-completions/_holdfast\n",
			run:  runCompletion,
		},
		{
			name: "passwd", args: []argument{{"IDENTITY", anything, false}}, help: "make a charger's entry for the -auth-file",
			more:    "Reads the charger's password from standard input, one line, and prints the entry. With -file\nit writes the entry to that file; a running gateway reads a changed file by itself.\n",
			options: passwdOptions, run: runPasswd,
		},
		{
			name: "keep", help: "keep the connections and the state of a gateway, so that its crash closes nothing",
			more:    "A service of its own, to which the gateway's option keeper leads. It holds a duplicate of each\nsocket and the memory with the gateway's state, and never reads or writes a byte of either. When\nthe gateway has died, the next one goes on. SIGHUP replaces it by the binary at its path; it\nkeeps everything meanwhile.\n",
			options: keepOptions, run: runKeep,
		},
		{name: "version", help: "print the version", run: runVersion},
		{name: "help", help: "print this text and the options of serve", run: runHelp},
	}
}

func adminOptions(i *invocation) []config.Option {
	return []config.Option{
		config.Define("admin-socket", "", "path of the gateway's socket for operators; unset, the one in -config, else "+defaultAdminSocket, config.Text(&i.socket)),
		config.Define("config", "", "configuration file of the gateway", config.Text(&i.config)),
	}
}

func jsonOptions(i *invocation) []config.Option {
	return append([]config.Option{config.Define("json", "false", "print JSON, for scripts", config.Boolean(&i.json))}, adminOptions(i)...)
}

func orderOptions(i *invocation) []config.Option {
	return append([]config.Option{config.Define("timeout", "30s", "time limit for the gateway to carry out the order", config.Duration(&i.timeout, time.Millisecond, 24*time.Hour))}, adminOptions(i)...)
}

func serveOptions(*invocation) []config.Option {
	return append([]config.Option{config.Define("config", "", "file of these options, one `name value` per line, without the dash; a flag takes precedence", config.Text(new(string)))}, config.Options(new(config.Config))...)
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
