#!/bin/sh
# lane.sh PROGRAM TARGET: runs `make TARGET` where PROGRAM is installed, and prints how long it took.
# Else says that it is skipped; scripts/judges.sh has failed before where WSX_REQUIRE lists PROGRAM.
set -eu
if ! command -v "$1" >/dev/null; then
    echo "SKIPPED: make $2: $1 is not installed"
    exit 0
fi
began=$(date +%s)
"${MAKE:-make}" --no-print-directory "$2"
echo "make $2: $(($(date +%s) - began)) s"
