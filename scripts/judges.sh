#!/bin/sh
# Says which judges and languages outside of this project take part in the tests, and which do not.
# What WSX_REQUIRE lists (comma-separated) may not be missing.
set -u

missing=''
judge() { # name, program, version command…
    name=$1 program=$2
    shift 2
    if path=$(command -v "$program" 2>/dev/null); then
        echo "judge: $name: $path ($("$@" 2>/dev/null | head -n 1))"
    else
        echo "judge: $name: not found, its tests say SKIPPED"
        case ",${WSX_REQUIRE:-}," in *",$name,"*) missing="$missing $name" ;; esac
    fi
}

judge kubectl kubectl kubectl version --client
judge nginx nginx dpkg-query -W -f '${Version}' nginx-light
judge haproxy haproxy dpkg-query -W -f '${Version}' haproxy
judge squid squid dpkg-query -W -f '${Version}' squid
judge go go go version
judge node node node --version
judge python python3 python3 --version
if [ -n "$missing" ]; then
    echo "required, but missing:$missing" >&2
    exit 1
fi
