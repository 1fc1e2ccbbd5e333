"""Port-forwards with threads, loops, forks, signals, and the end of the interpreter."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import Arranged, Cluster
from kubectl_wsx import AsyncClient, AsyncPortForward, Client, ClosedError, ConnectionLostError


async def echo(forward: AsyncPortForward) -> bytes:
    reader, writer = await forward.open(7)
    writer.write(b"hello")
    data = await reader.readexactly(5)
    writer.transport.abort()
    await writer.wait_closed()
    return data


def test_two_loops_at_once(cluster: Cluster, ports: Arranged, pod: str) -> None:
    async def begin() -> tuple[AsyncClient, AsyncPortForward]:
        client = await AsyncClient.connect(cluster.kubeconfig)
        return client, await client.port_forward(pod, 7, address=[])

    client, forward = asyncio.run(begin())
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda _: asyncio.run(echo(forward)), range(8))) == [b"hello"] * 8
    asyncio.run(client.close())


class Proactor(asyncio.SelectorEventLoop):
    """Watches no pipes, like the loop of Windows."""

    add_reader = asyncio.AbstractEventLoop.add_reader  # which raises NotImplementedError


def test_a_loop_that_watches_no_pipes(cluster: Cluster, ports: Arranged, pod: str) -> None:
    async def use() -> None:
        async with await AsyncClient.connect(cluster.kubeconfig) as client:
            async with await client.port_forward(pod, 7, address=[]) as forward:
                assert await asyncio.gather(*(echo(forward) for _ in range(20))) == [b"hello"] * 20

    with asyncio.Runner(loop_factory=Proactor) as runner:
        runner.run(use())


@pytest.mark.filterwarnings("default::ResourceWarning")
def test_a_closed_loop_is_left_alone(cluster: Cluster, ports: Arranged, pod: str) -> None:
    async def begin() -> tuple[AsyncClient, AsyncPortForward, asyncio.StreamReader, asyncio.StreamWriter]:
        client = await AsyncClient.connect(cluster.kubeconfig)
        forward = await client.port_forward(pod, 7, 9, address=[])
        return client, forward, *await forward.open(9)

    loop = asyncio.new_event_loop()
    client, forward, reader, writer = loop.run_until_complete(begin())
    events = forward.events()
    waiting = [loop.create_task(each) for each in (reader.read(), forward.wait(), drain(events))]
    loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()
    writer.write(b"late")
    writer.close()  # which brings it across without a loop
    for task in waiting:
        task.get_coro().close()
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    assert asyncio.run(echo(forward)) == b"hello"
    asyncio.run(client.close())
    ports.run(await_open=0)
    assert ports.run()["counts"]["ports"]["9"]["to_pod"] == 4


async def drain(events: object) -> None:
    async for _ in events:  # type: ignore[attr-defined]
        pass


def child(body: str, cluster: Cluster) -> subprocess.Popen[bytes]:
    """Starts a program that has a port-forward and a connection."""
    begin = (
        "import asyncio, signal, sys, threading, time\n"
        "from kubectl_wsx import *\n"
        "client = Client.connect(sys.argv[1])\n"
        'forward = client.port_forward("web-0", ":7", ":3001")\n'
        "connection = forward.open(3001)\n"
        "async def use():\n"
        "    client = await AsyncClient.connect(sys.argv[1])\n"
        '    forward = await client.port_forward("web-0", ":3001")\n'
        "    reader, writer = await forward.open()\n"
        "    reading = asyncio.create_task(reader.read())\n"
        "    writer.write(bytes(10_000_000))\n"
        "    await asyncio.sleep(0.1)\n"
        "    return client, forward, reader, writer\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", begin + body, cluster.kubeconfig]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


WAITS = ["connection.recv(1)", "connection.sendall(bytes(100_000_000))", "connection.makefile('rb').read()"]
WAITS += ["list(forward.events())", "forward.wait()"]


@pytest.mark.parametrize("wait", WAITS)
def test_sigint_ends_a_blocking_call(cluster: Cluster, wait: str) -> None:
    body = f"try:\n    print('ready', flush=True)\n    {wait}\nexcept KeyboardInterrupt:\n    print(time.monotonic())\n"
    running = child(body, cluster)
    assert running.stdout and running.stdout.readline() == b"ready\n"
    time.sleep(0.1)  # whether it waits by now cannot be asked; before it does, the answer is the same
    begin = time.monotonic()
    running.send_signal(signal.SIGINT)
    stdout, stderr = running.communicate(timeout=10)
    assert (stderr, running.returncode) == (b"", 0)
    assert float(stdout) - begin < 0.2


@pytest.mark.parametrize(
    "body",
    [
        "pass",
        "sys.exit()",
        "threading.Thread(target=connection.recv, args=(1,), daemon=True).start(); time.sleep(0.1)",
        "threading.Thread(target=list, args=(forward.events(),), daemon=True).start(); time.sleep(0.1)",
        "threading.Thread(target=forward.wait, daemon=True).start(); time.sleep(0.1)",
        "connection.sendall(b'x'); connection.close()",
        "kept = asyncio.new_event_loop(); keep = kept.run_until_complete(use())",
        "loop = asyncio.new_event_loop(); keep = loop.run_until_complete(use()); loop.close()",
        "import atexit; atexit.register(lambda: connection.settimeout(0.1) or forward.open(7).close())",
    ],
)
def test_the_interpreter_ends_whatever_is_open(cluster: Cluster, body: str) -> None:
    ended = child(body, cluster)
    _, stderr = ended.communicate(timeout=10)
    assert ended.returncode == 0
    assert stderr == b"" or b"Task was destroyed" in stderr  # which asyncio says of what was left running


def test_a_fork_leaves_the_parent_alone(cluster: Cluster, client: Client, ports: Arranged, pod: str) -> None:
    with client.port_forward(pod, 7, address=[]) as forward, forward.open() as connection:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                uses: list[Callable[[], object]] = [
                    forward.open,
                    forward.wait,
                    forward.report,
                    forward.close,
                    lambda: next(forward.events()),
                    lambda: connection.recv(1),
                    lambda: connection.send(b"x"),
                    connection.close,
                ]
                for use in uses:
                    with pytest.raises(ClosedError, match="forked"):
                        use()
                del connection
                with Client.connect(cluster.kubeconfig) as own:
                    with own.port_forward(pod, 7, address=[]) as other, other.open() as another:
                        another.sendall(b"x")
                        code = 7 if another.recv(1) == b"x" else 2
                        another.abort()
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        connection.sendall(b"still here")
        assert connection.recv(10) == b"still here"
        connection.abort()


def test_asyncio_is_not_imported_before_it_is_needed() -> None:
    check = "import sys, kubectl_wsx; sys.exit(not {'asyncio', 'socket'}.isdisjoint(sys.modules))"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0


def test_threads_open_while_others_close(cluster: Cluster, ports: Arranged, pod: str) -> None:
    with Client.connect(cluster.kubeconfig) as client, ThreadPoolExecutor(8) as pool:
        forward = client.port_forward(pod, 7, address=[])

        def use(_: int) -> str:
            try:
                forward.open().abort()
            except (ClosedError, ConnectionLostError) as error:
                return error.kind
            return "open"

        waiting = [pool.submit(use, each) for each in range(200)]
        forward.close()
        assert {each.result(timeout=10) for each in waiting} <= {"open", "lost", "closed"}
        assert use(0) == "closed"
