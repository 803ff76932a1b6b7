#!/bin/sh
# What the tests use besides Go: needed.txt is the list. make and .ci/run call this.
#
#   needed.sh install     installs what is missing, with apt
#   needed.sh modules     installs the packages of npm, if npm is there
#   needed.sh race        prints -race if the race detector works
#   needed.sh skip        prints -skip … for tests that would fail for want of a program
#   needed.sh complete    fails if HOLDFAST_ALL is set and anything is missing
#   needed.sh left-out    prints a line for all that is missing
set -eu
here=$(dirname "$0")
modules=$here/realclients/node_modules

# have NAME: this machine has it.
have() {
	case $1 in
	gcc) # go may be told to do without, and gcc may lack the headers
		[ "$(go env CGO_ENABLED)" = 1 ] && echo '#include <stdlib.h>' | $(go env CC) -E -x c - >/dev/null 2>&1
		;;
	ocpp-rpc) [ -e "$modules/.done" ] && command -v node >/dev/null ;;
	*) command -v "$1" >/dev/null ;;
	esac
}

# missing PURPOSE…: the lines of the list that this machine lacks.
missing() {
	grep -v '^#' "$here/needed.txt" | while read -r name packages purpose what; do
		case " $* " in *" $purpose "*) have "$name" || echo "$name $packages $what" ;; esac
	done
}

left_out() {
	missing test | while read -r name packages what; do
		echo "left out: $what ($name is missing; make setup)"
	done
}

install_modules() {
	lock=$here/realclients/package-lock.json
	if [ -e "$modules/.done" ] && [ -z "$(find "$lock" -newer "$modules/.done")" ]; then return; fi
	command -v npm >/dev/null || return 0
	rm -f "$modules/.done"
	(cd "$here/realclients" && npm ci --ignore-scripts --no-audit --no-fund --silent) && touch "$modules/.done"
}

install_packages() {
	packages=$(missing make test e2e | while read -r name packages what; do
		# Whoever has an npm of another source keeps it.
		if [ "$name" = ocpp-rpc ] && command -v npm >/dev/null; then continue; fi
		echo "$packages" | tr , '\n'
	done | sort -u)
	[ -n "$packages" ] || return 0
	root=
	[ "$(id -u)" = 0 ] || root=sudo
	if ! command -v apt-get >/dev/null; then
		echo "no apt-get here; what Debian calls these is missing:" $packages >&2
		return 1
	fi
	$root apt-get update -q
	$root apt-get install -qy --no-install-recommends $packages
}

case ${1-} in
install)
	install_packages
	install_modules
	;;
modules) install_modules || echo "npm ci failed" >&2 ;;
race) if have gcc; then echo -race; fi ;;
skip)
	# Only tests outside of tests/, which cannot ask harness.Need.
	tests=
	have bash || tests="$tests|^TestBashCompletion\$"
	for name in python3 node; do
		have $name || tests="$tests|^TestMinimalProcessors\$/^$name\$"
	done
	if [ -n "$tests" ]; then echo "-skip '${tests#|}'"; fi
	;;
complete)
	[ -n "${HOLDFAST_ALL-}" ] || exit 0
	out=$(left_out)
	[ -z "$out" ] || { echo "HOLDFAST_ALL is set, and this would be"; echo "$out"; exit 1; } >&2
	;;
left-out) left_out ;;
*)
	sed -n '2,/^set/{/^#/p}' "$0" >&2
	exit 2
	;;
esac
