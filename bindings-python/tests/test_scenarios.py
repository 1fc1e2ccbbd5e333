"""tests/scenarios/process.json and attach.json through both clients: AsyncClient by exec(), Client by run()."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

import pytest
from conftest import ROOT, Cluster, own_cluster
from kubectl_wsx import (
    DEVNULL,
    PIPE,
    AsyncClient,
    AsyncReader,
    Client,
    ClosedError,
    CompletedProcess,
    Timeouts,
    WsxError,
)

PROCESSES, ATTACHED = (
    json.loads((ROOT / f"tests/scenarios/{name}.json").read_text())["cases"] for name in ("process", "attach")
)
#: So many at a time, and each within so many seconds.
MANY = 8
LIMIT = 15.0
#: What happened: stdout, stderr, code, confidence, protocol, and the error.
Outcome = dict[str, Any]
#: Leads to a cluster, which ends with the block where it is the case's own.
Enter = Callable[[], AbstractContextManager[str]]


@contextmanager
def own_kubeconfig() -> Iterator[str]:
    with own_cluster() as cluster:
        yield cluster.kubeconfig


def text(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    return bytes.fromhex(value["hex"]) if "hex" in value else (value["repeat"][0] * value["repeat"][1]).encode()


def asked(case: dict[str, Any], context: str | None, kubeconfig: str) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    options = dict(case.get("options", {}))
    if "timeouts" in options:
        options["timeouts"] = Timeouts(**options["timeouts"])
    if "size" in options:
        options["size"] = tuple(options["size"])
    for name in ("stdout", "stderr"):
        if name in options:
            options[name] = PIPE if options[name] else DEVNULL
    entry = {"kubeconfig": kubeconfig, "context": case.get("context", context), **case.get("connect", {})}
    return entry, options, [text(word).decode() for word in case.get("command", [])]


def input_of(case: dict[str, Any]) -> bytes | None:
    return text(case["input"]) if "input" in case else None


def ended(done: CompletedProcess[bytes]) -> Outcome:
    return {"stdout": done.stdout, "stderr": done.stderr, "code": done.returncode, "confidence": done.status.confidence}


def failed(error: WsxError, **seen: Any) -> Outcome:
    return {"stdout": error.stdout or b"", "stderr": error.stderr or b"", **seen, "kind": error.kind, "error": error}


async def by_exec(kubeconfig: str, case: dict[str, Any], context: str | None) -> Outcome:
    """Reads both streams to the end, each by itself; a stream ends cleanly only where there is a status."""
    entry, options, command = asked(case, context, kubeconfig)
    input, seen = input_of(case), Outcome()

    async def read(name: str, reader: AsyncReader | None) -> None:
        seen[name] = b""
        if reader is not None:
            try:
                seen[name] = await reader.read()
            except WsxError as error:
                seen[name] = await reader.read()
                seen.setdefault("told", []).append(error.kind)

    try:
        async with await AsyncClient.connect(**entry) as client:
            stdin = None if input is None else PIPE
            if case.get("verb") == "attach":
                starting = client.attach(case["target"], stdin=stdin, **options)
            else:
                starting = client.exec(case["target"], command, stdin=stdin, **options)
            async with await starting as process:
                seen["protocol"], seen["has_terminal"] = process.protocol, process.has_terminal
                assert (process.stderr is None) == (process.has_terminal or options.get("stderr") == DEVNULL)
                if process.stdin:
                    with suppress(ClosedError):  # the command may have ended
                        process.stdin.write(input or b"")
                    process.stdin.close()
                await asyncio.gather(read("stdout", process.stdout), read("stderr", process.stderr))
                try:
                    seen["code"] = await process.wait()
                except WsxError as error:
                    readers = [reader for reader in (process.stdout, process.stderr) if reader]
                    assert seen.pop("told") == [error.kind] * len(readers)
                    raise
                assert process.returncode == seen["code"] and process.status
                seen["confidence"] = process.status.confidence
    except WsxError as error:
        return failed(error, **seen)
    return seen


def by_run(kubeconfig: str, case: dict[str, Any], context: str | None) -> Outcome:
    """Runs it in one call; by communicate() where run() has not got the option."""
    entry, options, command = asked(case, context, kubeconfig)
    input, seen = input_of(case), Outcome()
    try:
        with Client.connect(**entry) as client:
            stdin = None if input is None else PIPE
            if case.get("verb") == "attach":
                starting = client.attach(case["target"], stdin=stdin, **options)
            elif options.keys() & {"stdout", "stderr", "tty", "size"}:
                starting = client.exec(case["target"], command, stdin=stdin, **options)
            else:
                return ended(client.run(case["target"], command, input=input, **options))
            with starting as process:
                seen["has_terminal"] = process.has_terminal
                try:
                    seen["stdout"], seen["stderr"] = process.communicate(input)
                except WsxError:
                    for name in ("stdout", "stderr"):
                        reader = getattr(process, name)
                        seen[name] = b"" if reader is None else reader.read()
                    raise
                assert process.status
                seen.update(code=process.returncode, confidence=process.status.confidence)
    except WsxError as error:
        return failed(error, **seen)
    return seen


#: What `expect` may name: what nobody compares must not stand there.
FACTS = {
    *("stdout", "stderr", "code", "kind", "confidence", "protocol", "has_terminal"),
    *("close_code", "http_status", "reason"),
}


def compare(case: dict[str, Any], outcome: Outcome) -> None:
    expected = case["expect"]
    assert expected.keys() <= FACTS, f"nobody compares {expected.keys() - FACTS}"
    assert (outcome.get("kind"), outcome.get("code")) == (expected.get("kind"), expected.get("code")), outcome
    for name in ("stdout", "stderr"):
        wanted, came = expected.get(name, ""), outcome[name]
        if isinstance(wanted, dict) and "sha256" in wanted:
            assert (len(came), hashlib.sha256(came).hexdigest()) == (wanted["bytes"], wanted["sha256"])
        elif isinstance(wanted, dict) and "begin" in wanted:
            assert came.startswith(text(wanted["begin"])), name
        elif wanted is not None:
            assert came == text(wanted), name
    for name in ("confidence", "protocol", "has_terminal"):
        if name in expected and name in outcome:
            assert outcome[name] == expected[name]
    for name in ("close_code", "http_status", "reason"):
        if name in expected:
            assert getattr(outcome["error"], name) == expected[name]


def outcomes(enter: Enter, cases: list[dict[str, Any]], context: str | None) -> list[tuple[Outcome, Outcome]]:
    """Runs all cases, many at a time: most of them wait."""

    async def every() -> list[Outcome]:
        room = asyncio.Semaphore(MANY)

        async def one(case: dict[str, Any]) -> Outcome:
            async with room:
                with enter() as kubeconfig:
                    return await asyncio.wait_for(by_exec(kubeconfig, case, context), LIMIT)

        return await asyncio.gather(*map(one, cases))

    def blocking(case: dict[str, Any]) -> Outcome:
        with enter() as kubeconfig:
            return by_run(kubeconfig, case, context)

    with ThreadPoolExecutor(MANY) as pool:
        return list(zip(asyncio.run(every(), debug=True), pool.map(blocking, cases), strict=True))


def check(enter: Enter, cases: list[dict[str, Any]], context: str | None, subtests: pytest.Subtests) -> None:
    for case, (by_exec, by_run) in zip(cases, outcomes(enter, cases, context), strict=True):
        with subtests.test(case["name"], way="asyncio, by the streams"):
            compare(case, by_exec)
        with subtests.test(case["name"], way="blocking, at once"):
            compare(case, by_run)


def test_embedded(cluster: Cluster, subtests: pytest.Subtests) -> None:
    cases = [case for case in PROCESSES if case.get("only") != "real"]
    check(lambda: nullcontext(cluster.kubeconfig), cases, None, subtests)


def test_attach(subtests: pytest.Subtests) -> None:
    check(own_kubeconfig, ATTACHED, None, subtests)


def test_real(real: Cluster, subtests: pytest.Subtests) -> None:
    cases = [case for case in PROCESSES if case.get("only") != "embedded"]
    check(lambda: nullcontext(real.kubeconfig), cases, "full", subtests)


@pytest.mark.parametrize(
    ("expect", "found"),
    [
        ({"code": 0}, {"code": 1}),
        ({"code": 0}, {"kind": "lost"}),
        ({"kind": "lost"}, {"code": 0}),
        ({"kind": "lost"}, {"kind": "timeout"}),
        ({"code": 0}, {"code": 0, "stdout": b"out"}),
        ({"code": 0, "stderr": "err"}, {"code": 0}),
        ({"code": 0, "stdout": {"begin": "tick 1"}}, {"code": 0, "stdout": b"tick"}),
        ({"code": 0, "protocol": "a"}, {"code": 0, "protocol": "b"}),
        ({"code": 0, "bogus": 1}, {"code": 0, "bogus": 1}),
    ],
)
def test_every_difference_is_noticed(expect: dict[str, Any], found: Outcome) -> None:
    with pytest.raises(AssertionError):
        compare({"expect": expect}, {"stdout": b"", "stderr": b"", **found})
