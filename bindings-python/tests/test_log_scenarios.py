"""tests/scenarios/logs.json through both clients: AsyncClient by lines and on_event, Client by batches and events()."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from conftest import ROOT, Cluster, own_cluster
from kubectl_wsx import AsyncClient, Client, LogEnd, LogEvent, Timeouts, WsxError

CASES = json.loads((ROOT / "tests/scenarios/logs.json").read_text())["cases"]
#: So many at a time, and each within so many seconds.
MANY = 8
LIMIT = 15.0
NAMES = {"name", "context", "target", "options", "before", "steps", "close", "any_order", "expect"}
#: What happened: data, events, end, exit_code, and the kind of the error.
Outcome = dict[str, Any]


def asked(case: dict[str, Any], cluster: Cluster) -> tuple[dict[str, Any], dict[str, Any]]:
    options = dict(case.get("options", {}))
    if "timeouts" in options:
        options["timeouts"] = Timeouts(**options["timeouts"])
    return {"kubeconfig": cluster.kubeconfig, "context": case.get("context")}, options


def perform(cluster: Cluster, step: dict[str, Any]) -> None:
    namespace, pod, container = step["log"].split("/")
    cluster.log(pod, container, namespace).run(**step["do"])


def ended(end: LogEnd) -> Outcome:
    return {"end": end.kind, "exit_code": end.exit_code}


def counted(events: list[LogEvent]) -> list[str]:
    return [event.kind for event in events if event.kind != "waiting"]


async def by_lines(cluster: Cluster, case: dict[str, Any]) -> Outcome:
    entry, options = asked(case, cluster)
    data, events, seen = bytearray(), list[LogEvent](), Outcome()
    try:
        async with await AsyncClient.connect(**entry) as client:
            async with await client.logs(case.get("target"), on_event=events.append, **options) as logs:
                for step in case.get("steps", []):
                    if "await" not in step:
                        await asyncio.to_thread(perform, cluster, step)
                    while not data.endswith(step.get("await", "").encode()):
                        data += await anext(logs)
                if not case.get("close"):
                    async for line in logs:
                        data += line
                    seen = ended(await logs.wait())
    except WsxError as error:
        seen = {"kind": error.kind}
    return {"data": bytes(data), "events": counted(events), **seen}


def by_batches(cluster: Cluster, case: dict[str, Any]) -> Outcome:
    entry, options = asked(case, cluster)
    data, events, seen = bytearray(), list[LogEvent](), Outcome()
    try:
        with Client.connect(**entry) as client, client.logs(case.get("target"), **options) as logs:
            late = threading.Timer(LIMIT, logs.close)
            late.start()
            try:
                batches = logs.batches()
                for step in case.get("steps", []):
                    if "await" not in step:
                        perform(cluster, step)
                    while not data.endswith(step.get("await", "").encode()):
                        data += b"".join(line.data for line in next(batches))
                if not case.get("close"):
                    for batch in batches:
                        data += b"".join(line.data for line in batch)
                    seen = ended(logs.wait())
            finally:
                late.cancel()
                logs.close()
                events.extend(logs.events())
    except WsxError as error:
        seen = {"kind": error.kind}
    return {"data": bytes(data), "events": counted(events), **seen}


def compare(case: dict[str, Any], outcome: Outcome) -> None:
    expected = case["expect"]
    assert case.keys() <= NAMES, f"nobody knows {case.keys() - NAMES}"
    assert expected.keys() <= {"data", "events", "end", "exit_code", "kind"}, expected.keys()
    assert [outcome.get(name) for name in ("kind", "end")] == [expected.get(name) for name in ("kind", "end")], outcome
    if "exit_code" in expected:
        assert outcome["exit_code"] == expected["exit_code"]
    arranged: Callable[[Any], Any] = sorted if case.get("any_order") else list
    assert arranged(outcome["events"]) == expected.get("events", [])
    lines = arranged(outcome["data"].splitlines(keepends=True))
    came, wanted = b"".join(lines), expected.get("data", "")
    if isinstance(wanted, str):
        assert came == wanted.encode()
    elif "hex" in wanted:
        assert came.hex() == wanted["hex"]
    else:
        assert (len(lines), hashlib.sha256(came).hexdigest()) == (wanted["lines"], wanted["sha256"])


def outcomes(run: Callable[[Cluster, dict[str, Any]], Outcome]) -> list[Outcome]:
    """Runs all cases, many at a time: most of them wait."""

    def one(case: dict[str, Any]) -> Outcome:
        with own_cluster() as cluster:
            for step in case.get("before", []):
                perform(cluster, step)
            return run(cluster, case)

    with ThreadPoolExecutor(MANY) as pool:
        return list(pool.map(one, CASES))


def check(outcomes: list[Outcome], subtests: pytest.Subtests) -> None:
    for case, outcome in zip(CASES, outcomes, strict=True):
        with subtests.test(case["name"]):
            compare(case, outcome)


def in_time(cluster: Cluster, case: dict[str, Any]) -> Outcome:
    try:
        return asyncio.run(asyncio.wait_for(by_lines(cluster, case), LIMIT), debug=True)
    except TimeoutError:
        return {"data": b"", "events": [], "kind": "not in time"}


def test_by_lines_and_callback(subtests: pytest.Subtests) -> None:
    check(outcomes(in_time), subtests)


def test_by_batches_and_events(subtests: pytest.Subtests) -> None:
    check(outcomes(by_batches), subtests)


def test_real_logs_go_on_over_cuts(real: Cluster) -> None:
    """`log-0` counts on; whatever is cut between, nothing is missing and nothing comes twice."""
    seen, events = list[int](), list[LogEvent]()
    with Client.connect(real.kubeconfig, context="full") as client:
        with client.logs("log-0", follow=True, tail_lines=5, on_event=events.append) as logs:
            for order in ("cut apiserver", "restart kubelet", "restart apiserver"):
                seen.extend(int(next(logs).split()[1]) for _ in range(10))
                real.order(order)
            seen.extend(int(next(logs).split()[1]) for _ in range(40))
            report = logs.report()
    assert seen == list(range(seen[0], seen[0] + 70))
    assert set(counted(events)) == {"reconnected"}
    assert (report.protocol, report.reconnects >= 3, report.gaps) == ("binary.k8s.io", True, 0)


@pytest.mark.parametrize(
    ("expect", "found"),
    [
        ({"end": "ended"}, {"end": "complete"}),
        ({"end": "complete"}, {"kind": "lost"}),
        ({"kind": "lost"}, {"kind": "timeout"}),
        ({"end": "ended", "exit_code": 0}, {"end": "ended", "exit_code": None}),
        ({"data": "b\na\n"}, {"data": b"a\nb\n"}),
        ({"data": {"hex": "61"}}, {"data": b"b"}),
        ({"data": {"lines": 1, "sha256": "00"}}, {"data": b"b"}),
        ({}, {"data": b"b"}),
        ({}, {"events": ["gap"]}),
        ({"events": ["gap"]}, {}),
        ({"bogus": 1}, {"bogus": 1}),
    ],
)
def test_every_difference_is_noticed(expect: dict[str, Any], found: Outcome) -> None:
    with pytest.raises(AssertionError):
        compare({"expect": expect}, {"data": b"", "events": [], **found})
