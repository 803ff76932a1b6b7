#!/usr/bin/env bash
# Copies the SDK for processors in Go into the directory $1, as the package
# holdfast-dev installs it: a module named holdfast with proc, proc/proctest and
# the frames of unixipc. It needs the standard library only: what passes file
# descriptors between two gateways (fds.go, which needs x/sys) stays out.
set -euo pipefail
umask 022
sdk=${1:?usage: sdk.sh DIRECTORY}
mkdir -p "$sdk"
sdk=$(cd "$sdk" && pwd)
cd "$(dirname "$0")/../.."

printf 'module holdfast\n\n%s\n' "$(grep '^go ' go.mod)" >"$sdk/go.mod"
for file in proc/*.go proc/proctest/*.go unixipc/*.go; do
  case $file in
    proc/example_test.go) ;; # to read, and to run with: go test holdfast/proc
    *_test.go | unixipc/fds.go) continue ;;
  esac
  install -D -m 0644 "$file" "$sdk/$file"
done
