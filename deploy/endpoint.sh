#!/bin/sh
# endpoint MODULE:CLASS [options of `dspex deploy`]: serves a program, and its cluster's figures beside it (port 9464).
# Ends as `dspex deploy` ends; SIGTERM stops it in order.
set -eu

serving=
stopping=
trap 'stopping=1; [ -z "$serving" ] || kill -TERM "$serving" 2>/dev/null || true' TERM INT
dspex deploy "$@" &
serving=$!
[ -z "$stopping" ] || kill -TERM "$serving"

# The figures need a cluster that runs. Whatever becomes of them, the endpoint goes on.
(
    trap 'kill "$!" 2>/dev/null || true; exit 0' TERM
    while kill -0 "$serving" 2>/dev/null; do
        sleep 5 &
        wait "$!" || true
        dspex agents metrics --serve 9464 &
        wait "$!" || true
    done
) &
figures=$!

code=0
wait "$serving" || code=$?
if kill -0 "$serving" 2>/dev/null; then # a signal broke the wait off; now for its own end
    code=0
    wait "$serving" || code=$?
fi
kill "$figures" 2>/dev/null || true
wait "$figures" || true
exit "$code"
