"""tests/scenarios/process.json through both clients: AsyncClient by exec(), Client by run()."""

from __future__ import annotations

import asyncio
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from conftest import ROOT, Cluster
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

CASES = json.loads((ROOT / "tests/scenarios/process.json").read_text())["cases"]
#: So many at a time, and each within so many seconds.
MANY = 16
LIMIT = 15.0
#: What happened: stdout, stderr, code, confidence, protocol, and the error.
Outcome = dict[str, Any]


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
    return entry, options, [word if isinstance(word, str) else text(word).decode() for word in case["command"]]


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
            async with await client.exec(case["target"], command, stdin=stdin, **options) as process:
                seen["protocol"] = process.protocol
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
            if not options.keys() & {"stdout", "stderr", "tty", "size"}:
                return ended(client.run(case["target"], command, input=input, **options))
            with client.exec(case["target"], command, stdin=None if input is None else PIPE, **options) as process:
                seen["stdout"], seen["stderr"] = process.communicate(input)
                assert process.status
                seen.update(code=process.returncode, confidence=process.status.confidence)
    except WsxError as error:
        return failed(error, **seen)
    return seen


def compare(case: dict[str, Any], outcome: Outcome) -> None:
    expected = case["expect"]
    assert (outcome.get("kind"), outcome.get("code")) == (expected.get("kind"), expected.get("code")), outcome
    for name in ("stdout", "stderr"):
        wanted, came = expected.get(name, ""), outcome[name]
        if isinstance(wanted, dict) and "sha256" in wanted:
            assert (len(came), hashlib.sha256(came).hexdigest()) == (wanted["bytes"], wanted["sha256"])
        elif wanted is not None:
            assert came == text(wanted), name
    for name in ("confidence", "protocol"):
        if name in expected and name in outcome:
            assert outcome[name] == expected[name]
    for name in ("close_code", "http_status", "reason"):
        if name in expected:
            assert getattr(outcome["error"], name) == expected[name]


def outcomes(kubeconfig: str, cases: list[dict[str, Any]], context: str | None) -> list[tuple[Outcome, Outcome]]:
    """Runs all cases, many at a time: most of them wait."""

    async def every() -> list[Outcome]:
        room = asyncio.Semaphore(MANY)

        async def one(case: dict[str, Any]) -> Outcome:
            async with room:
                return await asyncio.wait_for(by_exec(kubeconfig, case, context), LIMIT)

        return await asyncio.gather(*map(one, cases))

    with ThreadPoolExecutor(MANY) as pool:
        blocking = list(pool.map(lambda case: by_run(kubeconfig, case, context), cases))
    return list(zip(asyncio.run(every(), debug=True), blocking, strict=True))


def check(kubeconfig: str, cases: list[dict[str, Any]], context: str | None, subtests: pytest.Subtests) -> None:
    for case, (by_exec, by_run) in zip(cases, outcomes(kubeconfig, cases, context), strict=True):
        with subtests.test(case["name"], way="AsyncClient.exec"):
            compare(case, by_exec)
        with subtests.test(case["name"], way="Client.run"):
            compare(case, by_run)


def test_embedded(cluster: Cluster, subtests: pytest.Subtests) -> None:
    check(cluster.kubeconfig, [case for case in CASES if case.get("only") != "real"], None, subtests)


def test_real(real: Cluster, subtests: pytest.Subtests) -> None:
    check(real.kubeconfig, [case for case in CASES if case.get("only") != "embedded"], "full", subtests)
