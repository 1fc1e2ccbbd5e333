"""What the core says in the command line's words, said in Python's."""

from __future__ import annotations

import re

from conftest import ROOT
from kubectl_wsx import errors


def test_errors_name_options_not_flags() -> None:
    hints = {
        "--kubeconfig FILE, or set KUBECONFIG": "kubeconfig=FILE, or set KUBECONFIG",
        "--context NAME   # there are: a--b": "context=NAME   # there are: a--b",
        "--protocol v4   # works there; stdin cannot end": 'protocol="v4"   # works there; stdin cannot end',
        "--require-ready=false   # as kubectl does": "require_ready=False   # as kubectl does",
        "name all: POD -c CONTAINER --no-preflight": "name all: POD container=CONTAINER, preflight=False",
        "-c CONTAINER": "container=CONTAINER",
        "kubectl get pods --show-labels": "kubectl get pods --show-labels",
    }
    limits = {
        "not within 5s (--connect-timeout): proxy": "not within 5s (Timeouts.connect): proxy",
        "no answer (--keepalive-timeout)": "no answer (Timeouts.keepalive_timeout)",
        "no end (--request-timeout)": "no end (request_timeout)",
    }
    error = errors.make("lost", " ".join(limits), why=" ".join(limits), remedies=list(hints))
    assert (error.message, error.why) == (" ".join(limits.values()),) * 2
    assert error.remedies == tuple(hints.values())


def test_no_flag_of_the_core_is_left() -> None:
    """Whatever the core says with a flag in it is understood."""
    code = "".join(file.read_text() for file in (ROOT / "core/src").rglob("*.rs"))
    limits = re.findall(r"\(--[a-z].*?\)", code)
    hints = re.findall(r'remedy\(\s*"(.* --[a-z].*|--[a-z].*)"', code)
    assert len(limits) > 5 and len(hints) > 5
    error = errors.make("lost", "".join(limits), remedies=hints)
    said = [error.message, *error.remedies]
    assert [text for text in said if "--" in text and not text.startswith("kubectl ")] == []
