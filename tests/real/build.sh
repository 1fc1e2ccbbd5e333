#!/bin/sh
# Builds the fixture (wsx-real, wsx-pod), kubectl of the same release and wsx-tunnel into a folder, default bin beside this script.
# The first build takes minutes, the next ones seconds. JOBS limits the compilers (default 2).
#
#   build.sh [--release MINOR] [DIR]      MINOR is a folder here with what differs for it, such as 1.34
set -eu

fail() { # exit code, what and why, what to try
    printf 'build.sh: %s; try: %s\n' "$2" "$3" >&2
    exit "$1"
}

# Without dirname: nothing of PATH is needed to say that go is missing.
case $0 in */*) here=${0%/*} ;; *) here=. ;; esac
here=$(cd "$here" && pwd)

other=''
if [ "${1:-}" = --release ]; then
    other=${2:-}
    [ -n "$other" ] && [ -f "$here/$other/go.mod" ] ||
        fail 2 "there is no Kubernetes '$other' here: $here/$other/go.mod is missing" 'build.sh --release 1.34'
    shift 2
fi
case ${1:-} in -*) fail 2 "unknown flag $1" 'build.sh [--release MINOR] [DIR]' ;; esac
command -v go >/dev/null ||
    fail 127 'the real Kubernetes is not built, because there is no `go` on PATH' \
        'install Go 1.26 (https://go.dev/dl); all other tests run without it'

out=${1:-$here/bin${other:+-$other}}
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$here"
source=$here
if [ -n "$other" ]; then
    # The same sources, but for the module and for what differs from release to release.
    source=$(mktemp -d)
    trap 'rm -rf "$source"' EXIT
    trap 'exit 1' HUP INT TERM
    cp -R cmd "$other/go.mod" "$other/go.sum" "$source"
    cp "$other/release.go" "$source/cmd/wsx-real/"
fi

release=$(sed -n 's/^\tk8s.io\/kubernetes \(v[0-9.]*\)$/\1/p' "$source/go.mod")
minor=${release#v1.}
version=k8s.io/component-base/version
stamp="-X $version.gitVersion=$release -X $version.gitMajor=1 -X $version.gitMinor=${minor%%.*}"

# No debugging information, neither compiled nor linked: a fifth of the time. More heap for the compiler: a tenth.
export CGO_ENABLED=0 GOGC="${GOGC:-400}"
build() { # folder of a module, arguments of go build…
    module=$1
    shift
    go build -C "$module" -p "${JOBS:-2}" -trimpath -buildvcs=false -gcflags=all=-dwarf=false -ldflags "-s -w $stamp" "$@"
}

began=$(date +%s)
build "$source" -o "$out/" ./cmd/...
build "$here/tunnel" -o "$out/wsx-tunnel" .
echo "built Kubernetes $release for tests in $(($(date +%s) - began)) s: $out"
