package main

import (
	"fmt"
	"io"
	"strings"

	"holdfast/cmd/holdfast/config"
)

func runCompletion(i *invocation) error {
	if err := i.parse(); err != nil {
		return err
	}
	switch i.args[0] {
	case "bash":
		bashCompletion(i.stdout)
	case "zsh":
		zshCompletion(i.stdout)
	default:
		return exit(exitUsage, "no completion for %q; there is one for bash and one for zsh", i.args[0])
	}
	return nil
}

// optionsOf are what c can be told, help aside.
func optionsOf(c *command) []config.Option {
	if c.options == nil {
		return nil
	}
	return c.options(new(invocation))
}

// bashCompletion writes a function that knows each command's options and what
// its arguments are; chargers and processors it asks the gateway for.
func bashCompletion(w io.Writer) {
	fmt.Fprint(w, `# Completion of holdfast for bash, by `+"`holdfast completion bash`"+`.
_holdfast() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]}
	local i n=0 known="" bools="" files="" kinds=() socket=() words=""
	COMPREPLY=()
	if ((COMP_CWORD == 1)); then
		COMPREPLY=($(compgen -W "`+strings.Join(commandNames(), " ")+`" -- "$cur"))
		return
	fi
	case $command in
`)
	for _, c := range commands() {
		var all, bools, files []string
		for _, o := range optionsOf(&c) {
			all = append(all, "-"+o.Name)
			if config.StandsAlone(o.Value) {
				bools = append(bools, "-"+o.Name)
			}
			if _, isText := o.Value.(config.TextValue); isText {
				files = append(files, "-"+o.Name)
			}
		}
		var kinds []string
		for _, a := range c.args {
			kinds = append(kinds, a.kind.String())
		}
		fmt.Fprintf(w, "\t%s) known=%q bools=%q files=%q kinds=(%s) ;;\n", c.name,
			strings.Join(append(all, "-help"), " "), strings.Join(bools, " "), strings.Join(files, " "), strings.Join(kinds, " "))
	}
	fmt.Fprint(w, `	esac
	for ((i = 2; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-admin-socket | -config) socket=("${COMP_WORDS[i]}" "${COMP_WORDS[i+1]}"); ((i++)) ;;
		-*) [[ " $bools " == *" ${COMP_WORDS[i]} "* ]] || ((i++)) ;;
		*) ((n++)) ;;
		esac
	done
	if ((i > COMP_CWORD)); then # the value of an option
		case $prev in
`)
	for _, o := range allOptions() {
		if c, ok := o.Value.(config.ChoiceValue); ok {
			fmt.Fprintf(w, "\t\t-%s) words=%q ;;\n", o.Name, strings.Join(c.From, " "))
		}
	}
	fmt.Fprint(w, `		*)
			if [[ " $files " == *" $prev "* ]]; then
				compopt -o filenames 2>/dev/null
				COMPREPLY=($(compgen -f -- "$cur"))
			fi
			return
			;;
		esac
	elif [[ $cur == -* ]]; then
		words=$known
	else
		case ${kinds[n]} in
		charger) words=$(holdfast list -names "${socket[@]}" "$cur*" 2>/dev/null) ;;
		processor) words=$(holdfast status -names "${socket[@]}" 2>/dev/null) ;;
		shell) words="bash zsh" ;;
		esac
	fi
	local IFS=$' \n'
	COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -F _holdfast holdfast
`)
}

// zshCompletion writes the same for zsh, with what each option is for.
func zshCompletion(w io.Writer) {
	fmt.Fprint(w, `#compdef holdfast
# Completion of holdfast for zsh, by `+"`holdfast completion zsh`"+`.
_holdfast_socket() {
	local i
	reply=()
	for ((i = 1; i < ${#words}; i++)); do
		[[ ${words[i]} == (-admin-socket|-config) ]] && reply=("${words[i]}" "${words[i+1]}")
	done
}
_holdfast_charger() {
	local -a reply names
	_holdfast_socket
	names=(${(f)"$(holdfast list -names $reply "$PREFIX*" 2>/dev/null)"})
	compadd -a names
}
_holdfast_processor() {
	local -a reply names
	_holdfast_socket
	names=(${(f)"$(holdfast status -names $reply 2>/dev/null)"})
	compadd -a names
}
_holdfast_shell() { compadd bash zsh }
_holdfast_anything() { _message value }
_holdfast() {
	if ((CURRENT == 2)); then
		local -a commands=(
`)
	for _, c := range commands() {
		fmt.Fprintf(w, "\t\t\t%s\n", zshQuote(c.name+":"+c.help))
	}
	fmt.Fprint(w, `		)
		_describe command commands
		return
	fi
	shift words
	((CURRENT--))
	case ${words[1]} in
`)
	for _, c := range commands() {
		fmt.Fprintf(w, "\t%s)\n\t\t_arguments", c.name)
		for _, o := range optionsOf(&c) {
			spec := fmt.Sprintf("-%s[%s]", o.Name, zshEscape(o.Help))
			switch v := o.Value.(type) {
			case config.BooleanValue:
			case config.ChoiceValue:
				spec += ":value:(" + strings.Join(v.From, " ") + ")"
			case config.TextValue:
				spec += ":file:_files"
			default:
				spec += ":value:"
			}
			fmt.Fprintf(w, " \\\n\t\t\t%s", zshQuote(spec))
		}
		for n, a := range c.args {
			optional := ""
			if a.optional {
				optional = ":"
			}
			fmt.Fprintf(w, " \\\n\t\t\t%s", zshQuote(fmt.Sprintf("%d:%s%s:_holdfast_%s", n+1, optional, zshEscape(a.name), a.kind)))
		}
		fmt.Fprintf(w, " \\\n\t\t\t'-help[what the command does]'\n\t\t;;\n")
	}
	fmt.Fprint(w, `	esac
}
if [[ $funcstack[1] == _holdfast ]]; then
	_holdfast "$@"
else
	compdef _holdfast holdfast
fi
`)
}

func (k argumentKind) String() string {
	return [...]string{"anything", "charger", "processor", "shell"}[k]
}

func commandNames() (names []string) {
	for _, c := range commands() {
		names = append(names, c.name)
	}
	return names
}

// allOptions are those of all commands, each name once.
func allOptions() (all []config.Option) {
	for _, c := range commands() {
		for _, o := range optionsOf(&c) {
			if config.Find(all, o.Name) == nil {
				all = append(all, o)
			}
		}
	}
	return all
}

// zshQuote makes s one word of a shell; zshEscape makes it a text inside of a
// specification of _arguments.
func zshQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func zshEscape(s string) string {
	return strings.NewReplacer(`\`, `\\`, "[", `\[`, "]", `\]`, ":", `\:`).Replace(s)
}
