#!/bin/sh
# A tour of kubectl wsx on the embedded cluster: no Kubernetes, no containers, no root.
# Every step checks what it shows, so a tour that ends well has proven something.
set -u

root=$(cd "$(dirname "$0")/.." && pwd)
bin=${CARGO_TARGET_DIR:-$root/target}/debug
scratch=$(mktemp -d)
failures=0

finish() {
    exec 9>&- # the cluster ends with its stdin
    wait 2>/dev/null
    rm -rf "$scratch"
}
trap finish EXIT
trap 'exit 130' INT TERM

mkfifo "$scratch/hold" "$scratch/says"
"$bin/wsx-test-cluster" <"$scratch/hold" >"$scratch/says" &
exec 9>"$scratch/hold"
read -r KUBECONFIG <"$scratch/says" || { echo 'the embedded cluster did not start' >&2; exit 1; }
export KUBECONFIG
PATH=$bin:$PATH

say() { printf '\n\033[1m# %s\033[0m\n' "$*"; }

show() { # expected exit code, then the command line as a person would type it
    expected=$1
    shift
    printf '$ %s\n' "$*"
    sh -c "$*"
    code=$?
    printf '(exit %s)\n' "$code"
    if [ "$code" -ne "$expected" ]; then
        echo "demo: expected exit $expected" >&2
        failures=$((failures + 1))
    fi
}

say 'A cluster of local processes is up; its kubeconfig is' "$KUBECONFIG"

say 'Run a command: output on both streams, and its own exit code'
show 3 "kubectl-wsx exec web-0 -c app -- sh -c 'echo to stdout; echo to stderr >&2; exit 3'"

say 'Pipe through a container: stdin ends, output follows'
show 0 "printf 'one\ntwo\nthree\n' | kubectl-wsx exec -i web-0 -c app -- wc -l"

say 'Any pod of a deployment, chosen as kubectl chooses'
show 0 "kubectl-wsx exec deploy/web -- sh -c 'echo I am \$POD_NAME'"

say 'Join the main process of a container, and end with its exit status, not with that of the stream'
show 3 "echo hi | kubectl-wsx attach -i ends-0"

say 'What containers wrote: the last lines of every pod of a deployment, those of several in the order of time'
show 0 "kubectl-wsx logs deploy/web --all-pods --tail=1 --timestamps --sort=window"

say 'Follow a log, over cuts and restarts; here until nobody reads it any more'
show 0 "kubectl-wsx logs -f writer-0 -c r1000 | head -n 3"

say 'The connection is cut after 100,000 bytes, politely (close 1000, no exit status).' \
    'kubectl exits 0 here; wsx says what was received and that the outcome is unknown'
show 255 "kubectl-wsx exec web-0 -c app -- @fault '{\"after_bytes\":100000,\"then\":\"close-no-status\"}' gen 1M >/dev/null"

say 'A server that never answers is named within the limit'
show 255 "kubectl-wsx exec web-0 -c app --connect-timeout=1s -- @fault '{\"handshake\":\"silent\"}' true"

say 'What cannot start is told apart from what failed'
show 125 "kubectl-wsx exec web-0 -c nope -- true"

say 'For scripts: one line of JSON says how it ended'
show 0 "kubectl-wsx exec web-0 -c app --status-file $scratch/status.json -- true && cat $scratch/status.json"

if [ "$failures" -ne 0 ]; then
    printf '\n%s steps did not end as they should\n' "$failures" >&2
    exit 1
fi
if [ -n "${KEEP:-}" ]; then
    say 'The cluster stays up until you press Enter. In another terminal:'
    printf 'export KUBECONFIG=%s PATH=%s:$PATH\nkubectl get pods      # stock kubectl works too\nkubectl wsx exec -it web-0 -c app -- sh\n' "$KUBECONFIG" "$bin"
    read -r _ || :
else
    say 'Done. `make demo KEEP=1` leaves the cluster up to try things by hand.'
fi
