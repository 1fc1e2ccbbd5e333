"""tests/scenarios/forward.json through both clients: AsyncClient and Client without a local socket, and local sockets."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import traceback
from asyncio import AbstractEventLoop, StreamReader, StreamWriter
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, TypeVar

import pytest
from conftest import ROOT, Cluster, own_cluster
from kubectl_wsx import AsyncClient, AsyncPortForward, Client, ForwardEvent, ForwardSocket, Timeouts, WsxError

CASES = json.loads((ROOT / "tests/scenarios/forward.json").read_text())["cases"]
#: So many at a time, and each within so many seconds.
MANY = 8
LIMIT = 30.0
NAMES = {"name", "open", "context", "target", "ports", "options", "before", "steps", "expect"}
T = TypeVar("T")


def content(data: Any) -> bytes:
    """What is sent, or has to come."""
    if isinstance(data, str):
        return data.encode()
    if "hex" in data:
        return bytes.fromhex(data["hex"])
    words = data["pattern"] // 8 + 1
    return b"".join(word.to_bytes(8, "little") for word in range(words))[: data["pattern"]]


class Socket:
    """A connection as a socket, one of ours or the system's."""

    def __init__(self, connection: ForwardSocket | socket.socket) -> None:
        self._connection = connection
        connection.settimeout(LIMIT)

    def send(self, data: bytes) -> None:
        self._connection.sendall(data)

    def receive(self, size: int) -> bytes:
        return self._connection.recv(size)

    def end(self) -> None:
        self._connection.shutdown(socket.SHUT_WR)

    def drop(self) -> None:
        getattr(self._connection, "abort", self._connection.close)()


class Streams:
    """A connection as streams, on the loop of another thread."""

    def __init__(self, call: Callable[[Coroutine[Any, Any, Any]], Any], reader: StreamReader, writer: StreamWriter):
        self._call, self._reader, self._writer = call, reader, writer

    def send(self, data: bytes) -> None:
        async def write() -> None:
            self._writer.write(data)
            await self._writer.drain()

        self._call(write())

    def receive(self, size: int) -> bytes:
        data: bytes = self._call(self._reader.read(size))
        return data

    def end(self) -> None:
        async def end() -> None:
            self._writer.write_eof()

        self._call(end())

    def drop(self) -> None:
        async def drop() -> None:
            self._writer.transport.abort()

        self._call(drop())


class Unopened:
    """A connection that was refused before there was any."""

    def __init__(self, error: WsxError) -> None:
        self._error = error

    def send(self, data: bytes) -> None:
        pass

    def receive(self, size: int) -> bytes:
        raise self._error

    def end(self) -> None:
        pass

    def drop(self) -> None:
        pass


class Blocking:
    """`Client`, with a local socket or without."""

    def __init__(self, cluster: Cluster, case: dict[str, Any], local: bool) -> None:
        self._local = local
        self._case = case
        self._ending = ExitStack()
        try:
            client = Client.connect(cluster.kubeconfig, context=case.get("context"))
            self._ending.enter_context(client)
            self._forward = client.port_forward(case["target"], *case["ports"], **options(case))
            self._events = self._forward.events()
        except BaseException:
            self._ending.close()
            raise
        self.remotes = [port.remote for port in self._forward.local_ports]

    def open(self, place: int) -> Any:
        if self._local:
            port = self._forward.local_ports[place]
            return Socket(socket.create_connection((port.address, port.local)))
        try:
            return Socket(self._forward.open(self._case["ports"][place].rpartition(":")[2]))
        except WsxError as error:
            return Unopened(error)

    def event(self) -> ForwardEvent | None:
        return next(self._events, None)

    def close(self) -> None:
        self._forward.close()

    def wait(self) -> None:
        self._forward.wait()

    def leave(self) -> None:
        self._ending.close()


class Asyncio:
    """`AsyncClient`, without a local socket."""

    _forward: AsyncPortForward

    def __init__(self, cluster: Cluster, case: dict[str, Any]) -> None:
        self._case = case
        self._loop: AbstractEventLoop = asyncio.new_event_loop()
        self._loop.set_debug(True)
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        try:
            self._client = self._call(AsyncClient.connect(cluster.kubeconfig, context=case.get("context")))
            starting = self._client.port_forward(case["target"], *case["ports"], **options(case))
            self._forward = self._call(starting)
        except BaseException:
            self.leave()
            raise
        self._events = self._forward.events()
        self.remotes = [port.remote for port in self._forward.local_ports]

    def _call(self, steps: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(steps, self._loop).result(LIMIT)

    def open(self, place: int) -> Any:
        try:
            streams = self._call(self._forward.open(self._case["ports"][place].rpartition(":")[2]))
        except WsxError as error:
            return Unopened(error)
        return Streams(self._call, *streams)

    def event(self) -> ForwardEvent | None:
        async def event() -> ForwardEvent | None:
            return await anext(self._events, None)

        return self._call(event())

    def close(self) -> None:
        self._call(self._forward.close())

    def wait(self) -> None:
        self._call(self._forward.wait())

    def leave(self) -> None:
        if hasattr(self, "_client"):
            self._call(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def options(case: dict[str, Any]) -> dict[str, Any]:
    options = {"address": ["127.0.0.1"], **case.get("options", {})}
    if "timeouts" in options:
        options["timeouts"] = Timeouts(**options["timeouts"])
    return options


def arrange(cluster: Cluster, step: dict[str, Any]) -> None:
    namespace, pod = step["pod"].split("/")
    cluster.ports(pod, namespace).run(**step["do"])


def received(connection: Any, size: int) -> bytes:
    data = b""
    while len(data) < size and (piece := connection.receive(size - len(data))):
        data += piece
    return data


class Play:
    """The steps of a case."""

    def __init__(self, cluster: Cluster, case: dict[str, Any], side: Any) -> None:
        self._cluster, self._case, self._side = cluster, case, side
        self._connections: dict[str, Any] = {}
        self._seen: list[ForwardEvent] = []
        #: How many of them were passed over: by steps, and on the way to a connection's error.
        self._passed = {"event": 0, "rest": 0}

    def await_event(self, word: str, kind: str) -> ForwardEvent:
        while True:
            for place, event in enumerate(self._seen[self._passed[word] :], self._passed[word]):
                if event.kind == kind:
                    self._passed[word] = place + 1
                    return event
            told = self._side.event()
            assert told is not None, f"no event {kind}"
            self._seen.append(told)

    def step(self, step: dict[str, Any]) -> None:
        word = next(iter(step))
        if word == "pod":
            arrange(self._cluster, step)
        elif word == "event":
            self.await_event("event", step["event"])
        elif word == "open":
            self._connections[step["open"]] = self._side.open(step["port"])
        elif word == "send":
            self._connections[step["send"]].send(content(step["data"]))
        elif word == "read":
            wanted = content(step["data"])
            assert received(self._connections[step["read"]], len(wanted)) == wanted
        elif word == "end":
            self._connections[step["end"]].end()
        elif word == "drop":
            self._connections.pop(step["drop"]).drop()
        elif word == "rest":
            self._rest(step)
        else:
            raise AssertionError(f"nobody knows {step}")

    def _rest(self, step: dict[str, Any]) -> None:
        connection, data, kind = self._connections.pop(step["rest"]), bytearray(), None
        try:
            while piece := connection.receive(100_000):
                data += piece
            how = "fin"
        except WsxError as cut:
            how, kind = "reset", cut.kind
        except ConnectionResetError:
            how = "reset"
        connection.drop()
        assert how == step["is"] and (step["data"] is None or bytes(data) == content(step["data"]))
        if "kind" in step:
            if kind is None:
                error = self.await_event("rest", "closed").error
                kind = error.kind if error else None
            assert kind == step["kind"]

    def leave(self) -> None:
        for connection in self._connections.values():
            connection.drop()

    def ends(self) -> None:
        expect = self._case["expect"]
        if "ends" not in expect:
            self._side.close()
        try:
            self._side.wait()
            kind = None
        except WsxError as error:
            kind = error.kind
        assert kind == expect.get("ends")
        while (event := self._side.event()) is not None:
            self._seen.append(event)
        kinds = [event.kind for event in self._seen if event.kind not in ("opened", "closed")]
        assert kinds == expect.get("events", ["ready"])


def play(case: dict[str, Any], enter: Callable[[Cluster, dict[str, Any]], Any]) -> str | None:
    """Plays a case; returns what is not as it should be."""
    assert case.keys() <= NAMES, f"nobody knows {case.keys() - NAMES}"
    expect = case["expect"]
    assert expect.keys() <= {"remotes", "events", "ends", "kind"}, expect.keys()
    with own_cluster() as cluster:
        try:
            for step in case.get("before", []):
                arrange(cluster, step)
            try:
                side = enter(cluster, case)
            except WsxError as error:
                assert error.kind == expect.get("kind"), error
                return None
            late = threading.Timer(LIMIT, side.close)
            late.start()
            playing = Play(cluster, case, side)
            try:
                assert "kind" not in expect and side.remotes == expect["remotes"]
                for step in case.get("steps", []):
                    playing.step(step)
                playing.ends()
            finally:
                late.cancel()
                playing.leave()
                side.leave()
        except Exception:
            return traceback.format_exc()
    return None


LOCAL = "blocking, local sockets"
WAYS: dict[str, Callable[[Cluster, dict[str, Any]], Any]] = {
    "asyncio, without a local socket": Asyncio,
    "blocking, without a local socket": lambda cluster, case: Blocking(cluster, case, local=False),
    LOCAL: lambda cluster, case: Blocking(cluster, case, local=True),
}


@pytest.mark.parametrize("way", WAYS)
def test_forward(way: str, subtests: pytest.Subtests) -> None:
    cases = [case for case in CASES if way == LOCAL or case.get("open", True)]
    with ThreadPoolExecutor(MANY) as pool:
        for case, wrong in zip(cases, pool.map(lambda case: play(case, WAYS[way]), cases), strict=True):
            with subtests.test(case["name"]):
                assert wrong is None, wrong


ECHO: dict[str, Any] = {
    "target": "web-0",
    "ports": [":7"],
    "steps": [{"open": "a", "port": 0}, {"send": "a", "data": "x"}, {"read": "a", "data": "x"}, {"drop": "a"}],
    "expect": {"remotes": [7]},
}
CUT: list[dict[str, Any]] = [{"open": "a", "port": 0}, {"send": "a", "data": "x"}, {"rest": "a", "data": None, "is": "reset", "kind": "lost"}]


@pytest.mark.parametrize(
    "other",
    [
        {"steps": [{"open": "a", "port": 0}, {"send": "a", "data": "x"}, {"read": "a", "data": "y"}]},
        {"steps": CUT[:2] + [{"rest": "a", "data": None, "is": "fin"}], "ports": [":3000"], "expect": {"remotes": [3000]}},
        {"steps": CUT[:2] + [{**CUT[2], "kind": "closed"}], "ports": [":3000"], "expect": {"remotes": [3000]}},
        {"steps": CUT[:2] + [{**CUT[2], "data": "x"}], "ports": [":3000"], "expect": {"remotes": [3000]}},
        {"steps": [{"bogus": 1}]},
        {"expect": {"remotes": [80]}},
        {"expect": {"remotes": [7], "events": ["ready", "ready"]}},
        {"expect": {"remotes": [7], "ends": "lost"}, "options": {"wait": 0}},
        {"expect": {"kind": "invalid"}},
        {"target": "nope"},
    ],
    ids=str,
)
@pytest.mark.parametrize("way", [LOCAL, "asyncio, without a local socket"])
def test_every_difference_is_noticed(way: str, other: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "LIMIT", 3.0)
    assert play(ECHO, WAYS[way]) is None
    assert play({**ECHO, **other}, WAYS[way]) is not None
