"""Port-forwards through both clients: what is listened on, what happens, how they end."""

from __future__ import annotations

import asyncio
import http.client
import socket
import stat
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from conftest import Arranged, Cluster
from kubectl_wsx import (
    AsyncClient,
    Client,
    ClosedError,
    ConnectionLostError,
    ForbiddenError,
    ForwardedPort,
    ForwardEvent,
    InvalidError,
    NotFoundError,
    NotStartedError,
    PortForward,
    Timeouts,
    UnsupportedError,
)

TUNNEL, V4 = "SPDY/3.1+portforward.k8s.io", "v4.channel.k8s.io"


def get(port: int, path: str, host: str = "127.0.0.1") -> bytes:
    with urllib.request.urlopen(f"http://{host}:{port}{path}", timeout=20) as answer:
        body: bytes = answer.read()
        return body


def asked(forward: PortForward, path: str) -> bytes:
    """Asks without a local socket."""
    connection = http.client.HTTPConnection("pod")
    with forward.open() as connection.sock:
        connection.request("GET", path)
        return connection.getresponse().read()


def refused(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def taken(forward: PortForward, kind: str) -> ForwardEvent:
    """Waits for the next event of a kind."""
    return next(event for event in forward.events() if event.kind == kind)


def test_it_listens(client: Client, ports: Arranged, pod: str) -> None:
    with client.port_forward(pod, ":80") as forward:
        port = forward.local_port
        assert forward.local_ports[0] == ForwardedPort(f"pod/{pod}", 80, port, "127.0.0.1")
        assert {each.address for each in forward.local_ports} <= {"127.0.0.1", "::1"}
        assert get(port, "/") == pod.encode()
        assert len(get(port, "/bytes?n=3000000")) == 3_000_000
        assert repr(forward) == f"<PortForward {pod} 80>"
    assert refused(port)
    assert forward.report().connections == 2


def test_it_listens_for_asyncio(cluster: Cluster, ports: Arranged, pod: str) -> None:
    async def use() -> int:
        async with await AsyncClient.connect(cluster.kubeconfig) as client:
            async with await client.port_forward(pod, ":http", address=["127.0.0.1"]) as forward:
                assert forward.local_ports == [ForwardedPort(f"pod/{pod}", 8080, forward.local_port, "127.0.0.1")]
                assert await asyncio.to_thread(get, forward.local_port, "/") == pod.encode()
                return forward.local_port

    assert refused(asyncio.run(use()))


def test_many_ports_and_targets_of_every_kind(client: Client) -> None:
    with client.port_forward("deploy/web", ":80", ":7", 19, address=["127.0.0.1"], on_conflict="random") as forward:
        assert [each.remote for each in forward.local_ports] == [80, 7, 19]
        with pytest.raises(InvalidError, match="3 local ports"):
            _ = forward.local_port
        assert get(forward.local_ports[0].local, "/") == b"deploy-c"
    with client.port_forward("svc/web", ":80", address=[]) as forward:
        assert asked(forward, "/") == b"web-0"
        with pytest.raises(InvalidError, match="0 local ports"):
            _ = forward.local_port


def test_a_unix_socket(client: Client, ports: Arranged, pod: str, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with client.port_forward(pod, 80, unix=path) as forward:
        assert forward.local_ports == [ForwardedPort(f"pod/{pod}", 80, 0, str(path))]
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with socket.socket(socket.AF_UNIX) as local:
            local.connect(str(path))
            local.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = b""
            while not answer.endswith(pod.encode()):
                answer += local.recv(1000)
    assert not path.exists()


def test_a_port_in_use_names_its_holder(client: Client, ports: Arranged, pod: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(NotStartedError, match="this process has it"):
            client.port_forward(pod, f"{port}:80")
        with client.port_forward(pod, f"{port}:80", on_conflict="next", address=["127.0.0.1"]) as forward:
            assert forward.local_port > port
            assert get(forward.local_port, "/") == pod.encode()


@pytest.mark.parametrize(("protocol", "known"), [("auto", TUNNEL), ("tunnel", TUNNEL), ("v4", V4), (V4, V4)])
def test_protocols(client: Client, ports: Arranged, pod: str, protocol: Any, known: str) -> None:
    with client.port_forward(pod, ":7", protocol=protocol, address=[]) as forward, forward.open() as connection:
        connection.sendall(b"x")
        assert connection.recv(10) == b"x"
        assert forward.report().protocol == known


def test_a_server_that_knows_one_protocol(client: Client, ports: Arranged, pod: str) -> None:
    ports.run(protocols="v4")
    with client.port_forward(pod, ":7", address=[]) as forward:
        assert forward.report().protocol == V4
    with pytest.raises(UnsupportedError):
        client.port_forward(pod, ":7", address=[], protocol="tunnel")


def test_events_tell_what_happens(client: Client, ports: Arranged, pod: str) -> None:
    with client.port_forward(pod, ":7", ":81", address=["127.0.0.1"]) as forward:
        events = forward.events()
        assert next(events) == ForwardEvent(kind="ready", pod=pod)
        with forward.open(7) as connection:
            assert next(events) == ForwardEvent(kind="opened", connection=1, remote=7, local=0)
            connection.sendall(b"four")
            assert connection.recv(10) == b"four"
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(10) == b""
        closed = next(events)
        assert (closed.kind, closed.sent, closed.received, closed.error) == ("closed", 4, 4, None)
        assert closed.lasted is not None and closed.lasted > 0
        with socket.create_connection(("127.0.0.1", forward.local_ports[1].local)) as local:
            opened = next(events)
            assert (opened.kind, opened.remote, opened.local) == ("opened", 81, forward.local_ports[1].local)
            with pytest.raises(ConnectionResetError):
                local.recv(1)
        assert isinstance(next(events).error, NotStartedError)
        ports.run(cut="rst")
        lost = next(events)
        assert (lost.kind, lost.pod) == ("reconnecting", pod) and lost.why
        again = next(events)
        assert (again.kind, again.pod) == ("ready", pod) and again.away is not None
        assert forward.report().reconnects == 1
        forward.close()
        assert list(events) == []


def test_events_for_asyncio(cluster: Cluster, ports: Arranged, pod: str) -> None:
    async def use() -> list[str]:
        async with await AsyncClient.connect(cluster.kubeconfig) as client:
            async with await client.port_forward(pod, ":7", address=[]) as forward:
                events = forward.events()
                assert (await anext(events)).kind == "ready"
                waiting = asyncio.create_task(anext(events))
                await asyncio.sleep(0)
                waiting.cancel()  # which loses nothing
                _, writer = await forward.open()
                writer.close()
                await writer.wait_closed()
            return [event.kind async for event in forward.events()]

    assert asyncio.run(use()) == ["opened", "closed"]


def test_events_that_nobody_takes_are_counted(client: Client, ports: Arranged, pod: str) -> None:
    with client.port_forward(pod, ":7", address=[]) as forward:
        with ThreadPoolExecutor(16) as pool:
            for connection in list(pool.map(lambda _: forward.open(), range(600))):
                connection.abort()
        forward.close()
        told = list(forward.events())
    # "ready", and two of each connection.
    assert len(told) == 1001 and told[-1] == ForwardEvent(kind="missed", count=201)


def test_a_replaced_pod_is_found_again(client: Client, ports: Arranged, pod: str) -> None:
    with client.port_forward(pod, ":80", address=[]) as forward:
        before = asked(forward, "/uid")
        ports.run(replace=True)
        assert taken(forward, "reconnecting").pod == pod
        assert taken(forward, "ready").away is not None
        assert asked(forward, "/uid") != before


def test_wait_tells_why_it_ended(client: Client, ports: Arranged, pod: str) -> None:
    with client.port_forward(pod, ":7", address=[], reconnect="never") as forward:
        ports.run(cut="rst")
        with pytest.raises(ConnectionLostError):
            forward.wait()
        with pytest.raises(ClosedError):
            forward.open()
        with pytest.raises(ConnectionLostError):  # again the same
            forward.wait()
        assert [event.kind for event in forward.events()][0] == "ready"


def test_wait_after_close_is_nothing(cluster: Cluster, ports: Arranged, pod: str) -> None:
    async def use() -> None:
        async with await AsyncClient.connect(cluster.kubeconfig) as client:
            forward = await client.port_forward(pod, ":7", address=[])
            waiting = asyncio.create_task(forward.wait())
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(waiting), 0.05)
            await forward.close()
            await forward.aclose()
            await waiting

    asyncio.run(use())


def test_a_pod_that_does_not_come_back(client: Client, ports: Arranged, pod: str) -> None:
    with client.port_forward(pod, ":7", address=[], wait=0.2, hold=0.1) as forward:
        ports.run(delete=True)
        with pytest.raises(ConnectionLostError, match="did not come back"):
            forward.wait()


def test_closing_the_client_closes_all(cluster: Cluster, ports: Arranged, pod: str) -> None:
    client = Client.connect(cluster.kubeconfig)
    forward = client.port_forward(pod, ":7")
    connection = forward.open()
    client.close()
    assert refused(forward.local_port)
    with pytest.raises(ConnectionLostError):
        connection.recv(1)
    connection.close()
    with pytest.raises(ClosedError):
        client.port_forward(pod, ":7")


def test_real_ports_outlive_their_sessions(real: Cluster) -> None:
    with Client.connect(real.kubeconfig, context="full") as client:
        with client.port_forward("server-0", ":http") as forward:
            assert forward.report().protocol == TUNNEL
            for order in ("cut apiserver", "restart kubelet", None):
                assert asked(forward, "/") == b"server-0\n"
                assert get(forward.local_port, "/bytes?n=3000000") == asked(forward, "/bytes?n=3000000")
                with forward.open() as connection:
                    connection.sendall(b"GET /")  # what has carried nothing may go on elsewhere
                    if order is not None:
                        real.order(order)
                        with pytest.raises(ConnectionLostError):
                            connection.recv(1)
                        assert taken(forward, "reconnecting").pod == "server-0"
                        assert taken(forward, "ready").away is not None
                    connection.abort()
        with client.port_forward("svc/web", ":80", address=[], balance="round-robin") as forward:
            assert {asked(forward, "/") for _ in range(8)} == {b"server-0\n", b"server-1\n"}

    async def refused() -> None:
        async with await AsyncClient.connect(real.kubeconfig, context="full") as client:
            async with await client.port_forward("server-0", 1, 8080, address=[]) as forward:
                reader, _ = await forward.open(1)
                with pytest.raises(NotStartedError, match="port 1 of the pod"):
                    await reader.read()
                reader, writer = await forward.open(8080)  # which the other one leaves alone
                writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                assert (await reader.read()).endswith(b"server-0\n")
                writer.close()
                await writer.wait_closed()

    asyncio.run(refused())


# What cannot be.


@pytest.mark.parametrize("port", [80.0, True, None, b"80", [80]])
def test_ports_of_wrong_types(client: Client, ports: Arranged, pod: str, port: Any) -> None:
    with pytest.raises(TypeError):
        client.port_forward(pod, port)
    with client.port_forward(pod, ":7", address=[]) as forward:
        if port is not None:
            with pytest.raises(TypeError):
                forward.open(port)


@pytest.mark.parametrize("wrong", [(), (0,), (-1,), (70000,), ("80:80:80",), ("",), ("a b",), ("0:0",)])
def test_ports_of_wrong_values(client: Client, wrong: Any) -> None:
    with pytest.raises(InvalidError):
        client.port_forward("web-0", *wrong)


@pytest.mark.parametrize(
    "options",
    [
        {"address": "127.0.0.1"},
        {"address": [1]},
        {"balance": 1},
        {"half_close": True},
        {"hold": "5"},
        {"namespace": 5},
        {"on_conflict": None},
        {"protocol": 4},
        {"reconnect": True},
        {"reconnect": None},
        {"require_ready": "yes"},
        {"sessions": 1.5},
        {"timeouts": 5},
        {"unix": 5},
        {"wait": None},
        {"nonsense": 1},
    ],
    ids=str,
)
def test_options_of_wrong_types(client: Client, options: Any) -> None:
    with pytest.raises(TypeError):
        client.port_forward("web-0", 80, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"address": ["example.org"]},
        {"balance": "fair"},
        {"half_close": "never"},
        {"hold": -1},
        {"hold": float("nan")},
        {"namespace": "a/b"},
        {"on_conflict": "kill"},
        {"protocol": "v5"},
        {"reconnect": "always"},
        {"reconnect": -1},
        {"sessions": 0},
        {"sessions": -1},
        {"sessions": 17},
        {"timeouts": Timeouts(total=5)},
        {"timeouts": Timeouts(stall=0)},
        {"wait": float("inf")},
    ],
    ids=str,
)
def test_options_of_wrong_values(client: Client, options: Any) -> None:
    with pytest.raises(InvalidError):
        client.port_forward("web-0", 80, **options)


def test_targets_that_are_not_there(client: Client, cluster: Cluster) -> None:
    with pytest.raises(NotFoundError):
        client.port_forward("nobody-0", 80)
    with pytest.raises(InvalidError):
        client.port_forward("pod/a/b", 80)
    with pytest.raises(NotFoundError, match="echoes"):
        client.port_forward("web-0", ":echoes")
    with Client.connect(cluster.kubeconfig, context="no-rights") as other, pytest.raises(ForbiddenError):
        other.port_forward("web-0", 80)


def test_open_takes_only_what_was_asked_for(client: Client, ports: Arranged, pod: str) -> None:
    with client.port_forward(pod, ":7", ":http", address=[]) as forward:
        with pytest.raises(InvalidError, match="7, http"):
            forward.open()
        with pytest.raises(InvalidError, match="7, http"):
            forward.open(9)
        for port in (7, "7", "http", 8080):
            forward.open(port).close()
    with pytest.raises(ClosedError):
        forward.open(7)
