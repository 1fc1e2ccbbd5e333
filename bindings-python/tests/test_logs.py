"""Logs: nothing is lost or repeated, events stay beside the lines, nothing is kept without bound, nothing hangs."""

from __future__ import annotations

import asyncio
import queue
import random
import resource
import threading
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from conftest import Cluster
from kubectl_wsx import (
    AsyncClient,
    AsyncLogs,
    Client,
    ClosedError,
    ConnectionLostError,
    InvalidError,
    LogEnd,
    LogEvent,
    LogLine,
    Logs,
    LogSource,
    Timeouts,
    WsxError,
)

MEBI = 1024 * 1024


def with_logs(
    cluster: Cluster, target: str | None, body: Callable[[AsyncLogs], Awaitable[None]], **options: Any
) -> None:
    """Runs `body` with logs on an event loop that checks everything."""

    async def main() -> None:
        async with await AsyncClient.connect(cluster.kubeconfig, context="plain") as client:
            async with await client.logs(target, **options) as logs:
                await body(logs)

    asyncio.run(asyncio.wait_for(main(), 60), debug=True)


def lines(count: int) -> list[bytes]:
    """What `numbers` writes."""
    return [b"%99d\n" % number for number in range(count)]


def test_every_kind_of_read_goes_on_where_the_last_one_stopped(cluster: Cluster) -> None:
    log = cluster.log("py-kinds")
    log.run(create={}, numbers={"from": 0, "count": 5000}, exit=0)

    async def body(logs: AsyncLogs) -> None:
        got = bytearray()
        for _ in range(3):
            got += await anext(logs)
            async for text in logs.lines():
                got += text.encode()
                if len(got) % 700 == 0:
                    break
            got += await anext(logs)
            async for batch in logs.batches():
                got += b"".join(line.data for line in batch)
                break
            got += await anext(logs)
            async for chunk in logs.chunks():
                got += chunk
                break
        async for line in logs:
            got += line
        assert got.splitlines(keepends=True) == lines(5000)
        with pytest.raises(StopAsyncIteration):
            await anext(logs)
        assert [chunk async for chunk in logs.chunks()] == []
        assert await logs.wait() == LogEnd("complete", None)
        report = logs.report()
        assert (report.lines, report.bytes, report.gaps, report.protocol) == (5000, 500_000, 0, "http")

    with_logs(cluster, "py-kinds", body)


def test_all_that_is_known_of_a_line(cluster: Cluster) -> None:
    log = cluster.log("py-known")
    writes = [{"ts": 1_700_000_000_123_456_789, "text": "one"}, {"ts": "2026-11-01T08:00:05.5Z", "text": "two"}]
    log.run(create={}, write=writes)
    source = LogSource("default", "py-known", "app")
    with Client.connect(cluster.kubeconfig) as client:
        with client.logs("py-known", timestamps=True) as logs:
            one = LogLine(b"2023-11-14T22:13:20.123456789Z one\n", 1_700_000_000_123_456_789, True, source)
            [[first, second]] = logs.batches()
            assert (first, second.timestamp) == (one, 1_793_520_005_500_000_000)
            assert first.source is second.source


def test_a_line_over_a_mebibyte_comes_in_pieces(cluster: Cluster) -> None:
    log = cluster.log("py-long")
    log.run(create={}, write=[{"text": "x" * (MEBI + 1000)}, {"text": "short"}], exit=0)
    with Client.connect(cluster.kubeconfig) as client:
        with client.logs("py-long") as logs:
            pieces = [line for batch in logs.batches() for line in batch]
        assert b"".join(piece.data for piece in pieces) == b"x" * (MEBI + 1000) + b"\nshort\n"
        assert [piece.begins for piece in pieces] == [True, *([False] * (len(pieces) - 2)), True]
        assert len(pieces) > 2
        with client.logs("py-long") as logs:
            assert logs.report().lines <= 2
            assert sum(map(len, logs.chunks())) == MEBI + 1007
            assert logs.report().lines == 2


def test_a_follow_ends_with_its_container(cluster: Cluster) -> None:
    log = cluster.log("py-ends")
    log.run(create={}, write=[{"text": "one"}])

    async def body(logs: AsyncLogs) -> None:
        assert await anext(logs) == b"one\n"
        waiting = asyncio.ensure_future(logs.wait())
        await asyncio.to_thread(log.run, write=[{"text": "two"}], exit=7)
        assert [line async for line in logs.lines()] == ["two\n"]
        assert await waiting == await logs.wait() == LogEnd("ended", 7)
        assert [event async for event in logs.events()] == []

    with_logs(cluster, "py-ends", body, follow=True)


def test_events_come_at_their_place_and_never_among_the_lines(cluster: Cluster) -> None:
    log, seen = cluster.log("py-events"), list[object]()
    log.run(create={}, write=[{"text": "one"}])

    async def body(logs: AsyncLogs) -> None:
        seen.append(await anext(logs))
        await asyncio.to_thread(log.run, await_follows=1)
        await asyncio.to_thread(log.run, cut="rst")
        await asyncio.to_thread(log.write, "two")
        seen.append(await anext(logs))
        await asyncio.to_thread(log.run, restart=True)
        await asyncio.to_thread(log.write, "three")
        seen.append(await anext(logs))
        with pytest.raises(InvalidError, match="on_event"):
            logs.events()
        assert logs.report().reconnects == 1

    with_logs(cluster, "py-events", body, follow=True, on_event=seen.append)
    one, reconnected, two, restarted, three = seen
    assert [one, two, three] == [b"one\n", b"two\n", b"three\n"]
    source = LogSource("default", "py-events", "app")
    assert isinstance(reconnected, LogEvent) and reconnected.why and reconnected.away is not None
    assert reconnected == LogEvent(kind="reconnected", source=source, away=reconnected.away, why=reconnected.why)
    assert 0 <= reconnected.away < 10
    assert restarted == LogEvent(kind="restarted", source=source, count=1, unseen=0)


def test_a_gap_is_told_beside_the_lines(cluster: Cluster) -> None:
    """What was rotated away while nobody could read is announced, and the events end with the log."""
    log = cluster.log("py-gap")
    log.run(create={}, write=[{"ts": 1_000_000_000 + number, "text": f"old {number}"} for number in range(20)])

    async def body(logs: AsyncLogs) -> None:
        async def told() -> list[LogEvent]:
            return [event async for event in logs.events()]

        events = asyncio.ensure_future(told())
        got = [await anext(logs) for _ in range(20)]
        await asyncio.to_thread(log.run, await_follows=1)
        await asyncio.to_thread(log.run, cut="stall")
        later = [{"ts": 2_000_000_000 + number, "text": f"new {number}"} for number in range(5)]
        await asyncio.to_thread(log.run, rotate=True)
        await asyncio.to_thread(log.run, write=later)
        got += [await anext(logs) for _ in range(5)]
        await asyncio.to_thread(log.run, exit=0)
        assert [line async for line in logs] == []
        assert got[-1] == b"new 4\n"
        gap, reconnected = sorted(await events, key=lambda event: event.kind)
        assert (gap.kind, reconnected.kind) == ("gap", "reconnected")
        assert (gap.from_, gap.to, gap.omitted) == (1_000_000_019, 2_000_000_000, 0)
        assert logs.report().gaps == 1

    with_logs(cluster, "py-gap", body, follow=True, timeouts=Timeouts(keepalive=0.1, keepalive_timeout=0.3))


def test_events_among_what_waits_to_be_read_keep_their_place(cluster: Cluster) -> None:
    log, seen = cluster.log("py-place"), list[object]()
    log.run(create={}, write=[{"text": "one"}, {"text": "two"}])

    async def body(logs: AsyncLogs) -> None:
        waiting = asyncio.ensure_future(logs.wait())  # it fetches what is there
        await asyncio.to_thread(log.run, await_follows=1)
        await asyncio.to_thread(log.run, restart=True)
        await asyncio.to_thread(log.run, write=[{"text": "three"}], exit=0)
        assert await waiting == LogEnd("ended", 0)
        async for line in logs:
            seen.append(line)

    with_logs(cluster, "py-place", body, follow=True, on_event=lambda event: seen.append(event.kind))
    assert seen == [b"one\n", b"two\n", "restarted", b"three\n"]


def test_events_are_waited_for_by_threads_too(cluster: Cluster) -> None:
    log, told = cluster.log("py-threads"), queue.Queue[str]()
    log.run(create={}, write=[{"text": "one"}])

    def tell(logs: Logs) -> None:
        for event in logs.events():
            told.put(event.kind)
        told.put("over")

    with Client.connect(cluster.kubeconfig, context="plain") as client:
        with client.logs("py-threads", follow=True) as logs:
            telling = threading.Thread(target=tell, args=(logs,))
            telling.start()
            assert next(logs) == b"one\n"
            log.run(await_follows=1)
            log.run(cut="fin")
            log.write("two")
            assert next(logs) == b"two\n"
            assert told.get(timeout=10) == "reconnected"
        assert told.get(timeout=10) == "over"
        telling.join()


def test_a_callback_that_raises_costs_no_line(cluster: Cluster) -> None:
    log = cluster.log("py-raises")
    log.run(create={}, write=[{"text": "one"}])

    def refuse(event: LogEvent) -> None:
        raise LookupError(event.kind)

    with Client.connect(cluster.kubeconfig, context="plain") as client:
        with client.logs("py-raises", follow=True, on_event=refuse) as logs:
            assert next(logs) == b"one\n"
            log.run(await_follows=1)
            log.run(cut="fin")
            log.write("two")
            with pytest.raises(LookupError, match="reconnected"):
                next(logs)
            assert next(logs) == b"two\n"


def test_text_cut_within_a_character(cluster: Cluster) -> None:
    cluster.log("py-text").run(create={}, write=[{"text": "hä"}, {"hex": "ff6f6b0a"}, {"text": "a\u2028b\x0c\x85"}])
    with Client.connect(cluster.kubeconfig) as client:
        with client.logs("py-text") as logs:
            assert list(logs.lines()) == ["hä\n", "\ufffdok\n", "a\u2028b\x0c\x85\n"]
        with client.logs("py-text", limit_bytes=2) as logs:
            assert list(logs.lines()) == ["h", "\ufffd"]
        with client.logs("py-text") as logs:
            text = logs.lines(errors="strict")
            assert next(text) == "hä\n"
            with pytest.raises(UnicodeDecodeError):
                next(text)
            assert next(text) == "a\u2028b\x0c\x85\n"


def test_cancelled_reads_lose_nothing(cluster: Cluster) -> None:
    """Reads of every kind are cancelled while they wait, while the log goes on and its connection is cut."""
    log = cluster.log("py-cancel")
    log.run(create={}, write=[{"text": "begin"}])

    async def body(logs: AsyncLogs) -> None:
        chance, got, cancelled = random.Random(6), bytearray(), 0
        text, batches, chunks = logs.lines(), logs.batches(), logs.chunks()

        async def read() -> bytes:
            kind = chance.randrange(4)
            if kind == 0:
                return await anext(logs)
            if kind == 1:
                return (await anext(text)).encode()
            if kind == 2:
                return b"".join(line.data for line in await anext(batches))
            return await anext(chunks)

        for number in range(300):
            reading = asyncio.ensure_future(read())
            writing = asyncio.ensure_future(asyncio.to_thread(log.write, f"more {number}"))
            if number % 150 == 75:
                await asyncio.to_thread(log.run, cut="fin")
            if chance.random() < 0.5:
                await writing
                for _ in range(chance.randrange(4)):
                    await asyncio.sleep(0)
            else:
                await asyncio.sleep(0)
            reading.cancel()
            try:
                got += await reading
            except asyncio.CancelledError:
                cancelled += 1
            await writing
        await asyncio.to_thread(log.run, exit=0)
        async for chunk in logs.chunks():
            got += chunk
        assert got.splitlines() == [b"begin"] + [b"more %d" % number for number in range(300)]
        assert cancelled > 50

    with_logs(cluster, "py-cancel", body, follow=True)


def test_a_quiet_log_may_be_waited_for_again_and_again(cluster: Cluster) -> None:
    log = cluster.log("py-quiet")
    log.run(create={}, write=[{"text": "one"}])

    async def body(logs: AsyncLogs) -> None:
        assert await anext(logs) == b"one\n"
        for waiting in (lambda: anext(logs), lambda: anext(logs.events()), logs.wait):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(waiting(), 0.02)
        await asyncio.to_thread(log.write, "two")
        assert await anext(logs) == b"two\n"

    with_logs(cluster, "py-quiet", body, follow=True)


def test_a_second_reader_is_refused(cluster: Cluster) -> None:
    cluster.log("py-second").run(create={})

    async def body(logs: AsyncLogs) -> None:
        first = asyncio.ensure_future(anext(logs))
        await asyncio.sleep(0)
        for second in (lambda: anext(logs), lambda: anext(logs.chunks()), lambda: anext(logs.lines())):
            with pytest.raises(RuntimeError, match="somebody else"):
                await second()
        first.cancel()

    with_logs(cluster, "py-second", body, follow=True)


def test_the_end_of_small_logs_comes_without_a_reader(cluster: Cluster) -> None:
    cluster.log("py-small").run(create={}, numbers={"from": 0, "count": 1000}, exit=3)
    with Client.connect(cluster.kubeconfig) as client:
        with client.logs("py-small", follow=True) as logs:
            assert logs.wait() == LogEnd("ended", 3)
            assert list(logs) == lines(1000)


def test_the_end_of_long_logs_waits_for_a_reader(cluster: Cluster) -> None:
    """Whoever waits fetches what fits; whoever reads, and never waits itself, makes room for the rest."""
    cluster.log("py-16m").run(create={}, lines="16M", exit=0)
    total = 16 * MEBI // 100 * 100

    async def body(logs: AsyncLogs) -> None:
        waiting = asyncio.ensure_future(logs.wait())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(waiting), 0.5)
        assert logs.report().bytes < MEBI
        size = 0
        async for batch in logs.batches():
            size += sum(len(line.data) for line in batch)
            if size > total - 200_000:  # the rest comes without a reader
                break
            while logs.report().bytes - size < 100_000:
                await asyncio.sleep(0)  # until more was fetched, by whoever waits
        assert await waiting == LogEnd("ended", 0)
        assert size + sum([len(line) async for line in logs]) == total

    with_logs(cluster, "py-16m", body, follow=True)

    async def close(logs: AsyncLogs) -> None:
        waiting = asyncio.ensure_future(logs.wait())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(waiting), 0.2)
        await logs.close()
        with pytest.raises(ClosedError):
            await waiting

    with_logs(cluster, "py-16m", close, follow=True)


def test_a_failure_is_raised_once_behind_the_last_line(cluster: Cluster) -> None:
    log = cluster.log("py-fails")
    log.run(create={}, write=[{"text": "one"}])

    async def body(logs: AsyncLogs) -> None:
        assert await anext(logs) == b"one\n"
        await asyncio.to_thread(log.run, await_follows=1)
        await asyncio.to_thread(log.run, write=[{"text": "two"}], cut="rst")
        assert await anext(logs) == b"two\n"
        with pytest.raises(ConnectionLostError):
            await anext(logs)
        assert [line async for line in logs] == []
        assert [event async for event in logs.events()] == []
        for _ in range(2):
            with pytest.raises(ConnectionLostError):
                await logs.wait()

    with_logs(cluster, "py-fails", body, follow=True, resume=False)


@pytest.mark.parametrize("how", ["break", "throw", "cancel", "aclose", "drop"])
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_leaving_closes_the_socket_within_a_second(cluster: Cluster, how: str) -> None:
    log, reading, kept = cluster.log("py-leave"), asyncio.Event(), list[AsyncLogs]()
    log.run(create={}, lines="1G")

    async def leave(client: AsyncClient) -> None:
        if how == "drop":
            async for _ in await client.logs("py-leave", follow=True):
                return
        async with await client.logs("py-leave", follow=True) as logs:
            kept.append(logs)
            async for _ in logs:
                reading.set()
                if how == "break":
                    break
                if how == "throw":
                    raise LookupError
                if how == "aclose":
                    await logs.aclose()
                    break

    async def main() -> None:
        async with await AsyncClient.connect(cluster.kubeconfig, context="plain") as client:
            leaving = asyncio.ensure_future(leave(client))
            if how == "cancel":
                await reading.wait()
                assert log.run(await_follows=1)["follows"] == 1
                leaving.cancel()
            await asyncio.wait([leaving])
            begin = time.monotonic()
            assert leaving.cancelled() == (how == "cancel")
            assert how == "cancel" or isinstance(leaving.exception(), LookupError) == (how == "throw")
            await asyncio.to_thread(log.run, await_follows=0)
            assert time.monotonic() - begin < 1

    asyncio.run(main())


def test_a_slow_reader_holds_the_kubelet_back(cluster: Cluster) -> None:
    async def body(logs: AsyncLogs) -> None:
        total = len(await anext(logs))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        async for chunk in logs.chunks():
            assert len(chunk) <= 96 * 1024
            total += len(chunk)
            if total < 8 * MEBI:
                await asyncio.sleep(0.001)
        assert total == 32 * MEBI // 100 * 100
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 * 1024

    cluster.log("py-32m").run(create={}, lines="32M", exit=0)
    with_logs(cluster, "py-32m", body, follow=True)


def test_a_fast_log_leaves_turns_to_others(cluster: Cluster) -> None:
    async def body(logs: AsyncLogs) -> None:
        longest, last = 0.0, time.monotonic()

        async def watch() -> None:
            nonlocal longest, last
            while True:
                await asyncio.sleep(0)
                longest, last = max(longest, time.monotonic() - last), time.monotonic()

        watching = asyncio.ensure_future(watch())
        assert sum([len(line) async for line in logs]) == 4 * MEBI // 100 * 100
        watching.cancel()
        assert longest < 0.5

    cluster.log("py-turns").run(create={}, lines="4M", exit=0)
    with_logs(cluster, "py-turns", body, follow=True)


def test_many_logs_at_once_by_one_loop(cluster: Cluster) -> None:
    for number in range(30):
        cluster.log(f"py-many-{number}").run(create={}, numbers={"from": 0, "count": 200 + number}, exit=number)

    async def one(client: AsyncClient, number: int) -> None:
        async with await client.logs(f"py-many-{number}", follow=True) as logs:
            assert [line async for line in logs] == lines(200 + number)
            assert await logs.wait() == LogEnd("ended", number)

    async def main() -> None:
        async with await AsyncClient.connect(cluster.kubeconfig, context="plain") as client:
            await asyncio.gather(*[one(client, number) for number in range(30)])

    asyncio.run(main())


def test_one_selector_reads_many_logs_and_says_whose_a_line_is(cluster: Cluster) -> None:
    pods = [f"py-group-{number}" for number in range(4)]
    for number, pod in enumerate(pods):
        words = {"create": {"labels": {"app": "py-group"}}, "numbers": {"from": 0, "count": 300 + number}}
        cluster.log(pod).run(**words, exit=number)

    sources = [LogSource("default", pod, "app") for pod in pods]

    async def body(logs: AsyncLogs) -> None:
        got: dict[LogSource, list[bytes]] = {}
        async for batch in logs.batches():
            for line in batch:
                got.setdefault(line.source, []).append(line.data)
        assert got == {source: lines(300 + number) for number, source in enumerate(sources)}
        assert logs.report().lines == 1206
        told = [(event.source, event.kind) async for event in logs.events()]
        assert told == [(source, kind) for source in sources for kind in ("started", "ended")]
        assert await logs.wait() == LogEnd("complete", None)

    with_logs(cluster, None, body, selector="app=py-group")


def test_of_many_the_first_failure_ends_all_or_is_told(cluster: Cluster) -> None:
    labels = {"labels": {"app": "py-broken"}}
    cluster.log("py-broken-0").run(create=labels, write=[{"text": "one"}])
    cluster.log("py-broken-1").run(create=labels, waiting="ImagePullBackOff")
    with Client.connect(cluster.kubeconfig) as client:
        with client.logs(selector="app=py-broken") as logs:
            with pytest.raises(WsxError, match="waiting to start: trying and failing to pull image"):
                list(logs)
        told: list[LogEvent] = []
        with client.logs(selector="app=py-broken", ignore_errors=True, on_event=told.append) as logs:
            assert list(logs) == [b"one\n"]
        [failed] = [event for event in told if event.kind == "failed"]
        assert failed.source.pod == "py-broken-1"
        assert isinstance(failed.error, WsxError) and "failing to pull image" in str(failed.error)


def test_many_logs_sorted_by_time(cluster: Cluster) -> None:
    for number in range(2):
        stamped = [{"ts": 1000 * step + number, "text": str(2 * step + number)} for step in range(100)]
        cluster.log(f"py-sort-{number}").run(create={"labels": {"app": "py-sort"}}, write=stamped)
    with Client.connect(cluster.kubeconfig) as client:
        with client.logs(selector="app=py-sort", sort_window=1) as logs:
            assert list(logs.lines()) == [f"{number}\n" for number in range(200)]
            assert logs.report().late == 0


@pytest.mark.parametrize("protocol", ["auto", "http", "binary.k8s.io", "base64.binary.k8s.io"])
def test_protocols(cluster: Cluster, protocol: Any) -> None:
    cluster.log("py-protocol").run(create={}, write=[{"text": "one"}], exit=0)
    with Client.connect(cluster.kubeconfig) as client:
        with client.logs("py-protocol", follow=True, protocol=protocol) as logs:
            assert list(logs) == [b"one\n"]
            assert logs.report().protocol == {"auto": "binary.k8s.io"}.get(protocol, protocol)


def test_points_in_time(cluster: Cluster) -> None:
    middle = datetime(2026, 11, 1, 9, 0, 5, tzinfo=timezone(timedelta(hours=1)))
    stamps = [((middle + timedelta(seconds=after)).isoformat(), str(after)) for after in (-1, 0, 1)]
    cluster.log("py-times").run(create={}, write=[{"ts": time, "text": text} for time, text in stamps])
    with Client.connect(cluster.kubeconfig) as client:
        for since in (middle, "2026-11-01T08:00:05Z"):
            with client.logs("py-times", since_time=since) as logs:
                assert list(logs) == [b"0\n", b"1\n"]
        with pytest.raises(InvalidError, match="time zone"):
            client.logs("py-times", since_time=middle.replace(tzinfo=None))


def test_closed_logs(cluster: Cluster) -> None:
    client = Client.connect(cluster.kubeconfig)
    logs = client.logs("web-0", container="app")
    assert next(logs) == b"app line 1\n"
    reading = client.logs("web-0", container="app", follow=True)
    for _ in range(100):
        next(reading)
    waiting = threading.Thread(target=lambda: pytest.raises(ClosedError, next, reading))
    waiting.start()
    while not reading._reading.locked():
        time.sleep(0)
    client.close()
    waiting.join(5)
    assert not waiting.is_alive()
    for use in (lambda: next(logs), lambda: next(logs.chunks()), lambda: next(logs.lines()), logs.wait):
        with pytest.raises(ClosedError, match="closed"):
            use()
    assert list(logs.events()) == [] and logs.report().lines == 100
    logs.close()
    with pytest.raises(ClosedError):
        client.logs("web-0")


@pytest.mark.filterwarnings("always::ResourceWarning")
def test_logs_left_open_are_announced(client: Client) -> None:
    with pytest.warns(ResourceWarning, match="unclosed logs: web-0"):
        logs = client.logs("web-0", container="app", follow=True)
        del logs


def test_notices_are_told_while_logs_are_read(cluster: Cluster) -> None:
    log, told = cluster.log("py-notices"), queue.Queue[str]()
    log.run(create={}, refuse_ws=True)

    def write() -> None:
        try:
            log.write(told.get(timeout=10).split(":")[0])
        except queue.Empty:
            log.write("nothing was told")

    with Client.connect(cluster.kubeconfig, on_notice=lambda _, text: told.put(text)) as client:
        with client.logs("py-notices", follow=True) as logs:
            writing = threading.Thread(target=write)
            writing.start()
            assert next(logs) == b"the log is followed over HTTP, without pings\n"
            writing.join()
