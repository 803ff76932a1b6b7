#!/bin/sh
# Runs the gateway with the reference processor until Ctrl-C, to try things out. A real
# machine installs a package instead (make package).
set -eu
port=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap : INT TERM
bin/holdfast serve -listen "127.0.0.1:$port" -processors "$dir/processors.sock" -shutdown-grace 2s &
gateway=$!
bin/processor -socket "$dir/processors.sock" &
processor=$!
echo
echo "  Give a charger  ws://127.0.0.1:$port/ocpp           if it appends its identity, as most do"
echo "              or  ws://127.0.0.1:$port/ocpp/CP000001  (ocpp1.6, ocpp2.0.1 or ocpp2.1)"
echo "  Ctrl-C ends both programs."
echo
wait $gateway || true
kill -TERM $gateway $processor 2>/dev/null || true
wait $gateway || true
wait $processor || true
echo "both programs have ended"
