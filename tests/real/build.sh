#!/bin/sh
# Builds the fixture (wsx-real, wsx-pod) and kubectl of the same release into the folder $1, default bin beside this script.
# The first build takes minutes, the next ones seconds. JOBS limits the compilers.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/bin}
command -v go >/dev/null || { echo "build.sh: go is not installed" >&2; exit 127; }
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$here"

release=$(sed -n 's/^\tk8s.io\/kubernetes \(v[0-9.]*\)$/\1/p' go.mod)
minor=${release#v1.}
version=k8s.io/component-base/version
flags="-s -w -X $version.gitVersion=$release -X $version.gitMajor=1 -X $version.gitMinor=${minor%%.*}"

began=$(date +%s)
CGO_ENABLED=0 go build -p "${JOBS:-2}" -trimpath -ldflags "$flags" -o "$out/" ./cmd/...
(cd tunnel && CGO_ENABLED=0 go build -trimpath -o "$out/wsx-tunnel" .)
echo "built Kubernetes $release for tests in $(($(date +%s) - began)) s: $out"
