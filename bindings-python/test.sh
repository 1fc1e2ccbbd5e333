#!/bin/sh
# test.sh VENV [PYTEST OPTIONS]: types, stubs and tests of the Python module that cargo has built.
set -eu
venv=$(cd "$1" && pwd)
shift
target=$(cd "${CARGO_TARGET_DIR:-$(dirname "$0")/../target}" && pwd)
cd "$(dirname "$0")"

ln -sf "$target/debug/lib_native.so" python/kubectl_wsx/_native.abi3.so
export PYTHONPATH="$PWD/python" MYPYPATH="$PWD/python" PYTHONDONTWRITEBYTECODE=1
"$venv/bin/mypy" --cache-dir "$venv/mypy" python examples tests
"$venv/bin/python" -m mypy.stubtest kubectl_wsx._native
"$venv/bin/python" -m pytest "$@"
