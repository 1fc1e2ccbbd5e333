"""Threads, loops, forks, signals, and the end of the interpreter."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import Cluster
from kubectl_wsx import PIPE, AsyncClient, AsyncLogs, AsyncProcess, Client, ClosedError
from kubectl_wsx._steps import doors


def test_32_threads_share_a_client(client: Client) -> None:
    with ThreadPoolExecutor(32) as pool:
        codes = pool.map(lambda code: client.run("web-0", ["sh", "-c", f"exit {code}"]).returncode, range(64))
        assert list(codes) == list(range(64))


def test_threads_do_not_read_one_stream_at_once(client: Client) -> None:
    with client.exec("web-0", ["sleep", "60"]) as process:
        assert process.stdout
        reading = threading.Thread(target=lambda: pytest.raises(ClosedError, process.stdout.read))  # type: ignore[union-attr]
        reading.start()
        while not process.stdout._reading.locked():
            time.sleep(0)
        with pytest.raises(RuntimeError):
            process.stdout.read()
        process.close()
        reading.join()


def test_a_client_may_be_used_from_two_loops_at_once(cluster: Cluster) -> None:
    client = asyncio.run(AsyncClient.connect(cluster.kubeconfig))

    async def use() -> bytes:
        async with await client.exec("web-0", ["cat"], stdin=PIPE) as process:
            assert process.stdin and process.stdout
            process.stdin.write(b"x\n")
            await process.stdin.drain()
            return await process.stdout.readline()

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda _: asyncio.run(use()), range(8))) == [b"x\n"] * 8
    asyncio.run(client.close())


class Proactor(asyncio.SelectorEventLoop):
    """Watches no pipes, like the loop of Windows."""

    add_reader = asyncio.AbstractEventLoop.add_reader  # which raises NotImplementedError


@pytest.mark.parametrize("kind", [asyncio.SelectorEventLoop, Proactor])
def test_any_kind_of_loop_is_woken(cluster: Cluster, kind: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def echo(client: AsyncClient) -> bytes:
        async with await client.exec("web-0", ["cat"], stdin=PIPE) as process:
            assert process.stdin and process.stdout
            reading = asyncio.create_task(process.stdout.readline())
            await asyncio.sleep(0)
            process.stdin.write(b"x\n")
            return await reading

    async def use() -> None:
        async with await AsyncClient.connect(cluster.kubeconfig) as client:
            assert await asyncio.gather(*(echo(client) for _ in range(8))) == [b"x\n"] * 8

    with asyncio.Runner(loop_factory=kind) as runner:
        runner.run(use())
        assert (doors[runner.get_loop()] is None) == (kind is Proactor)


def test_loops_leave_nothing_open(cluster: Cluster) -> None:
    """What wakes a loop is closed with it."""

    def use() -> int:
        client = asyncio.run(AsyncClient.connect(cluster.kubeconfig))
        asyncio.run(client.close())
        gc.collect()
        return len(os.listdir("/proc/self/fd"))

    before = use()
    assert [use() for _ in range(30)] == [before] * 30


def test_a_closed_loop_is_left_alone(cluster: Cluster) -> None:
    async def begin() -> tuple[AsyncClient, AsyncProcess]:
        client = await AsyncClient.connect(cluster.kubeconfig)
        return client, await client.exec("web-0", ["cat"], stdin=PIPE)

    loop = asyncio.new_event_loop()
    client, process = loop.run_until_complete(begin())
    assert process.stdin and process.stdout
    reading = loop.create_task(process.stdout.readline())
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    process.stdin.write(b"late\n")
    reading.get_coro().close()
    reading._log_destroy_pending = False  # type: ignore[attr-defined]

    async def end() -> bytes:
        async with client:
            assert process.stdout
            return await process.stdout.readline()

    assert asyncio.run(end()) == b"late\n"


def test_a_closed_loop_goes_with_those_who_wait_in_it(cluster: Cluster) -> None:
    async def begin() -> tuple[AsyncClient, AsyncProcess]:
        client = await AsyncClient.connect(cluster.kubeconfig)
        return client, await client.exec("web-0", ["cat"], stdin=PIPE)

    def abandon() -> tuple[AsyncClient, weakref.ref[asyncio.AbstractEventLoop]]:
        loop = asyncio.new_event_loop()
        client, process = loop.run_until_complete(begin())
        assert process.stdout
        reading = loop.create_task(process.stdout.readline())
        loop.run_until_complete(asyncio.sleep(0))
        reading._log_destroy_pending = False  # type: ignore[attr-defined]
        loop.close()
        return client, weakref.ref(loop)

    with pytest.warns(ResourceWarning, match="unclosed process"):
        client, loop = abandon()
        gc.collect()
    assert loop() is None
    asyncio.run(client.close())


def test_a_closed_loop_leaves_logs_readable(cluster: Cluster) -> None:
    log = cluster.log("py-loop")
    log.run(create={}, write=[{"text": "one"}])

    async def begin() -> tuple[AsyncClient, AsyncLogs]:
        client = await AsyncClient.connect(cluster.kubeconfig)
        logs = await client.logs("py-loop", follow=True)
        assert await anext(logs) == b"one\n"
        return client, logs

    loop = asyncio.new_event_loop()
    client, logs = loop.run_until_complete(begin())
    waiting = [loop.create_task(each) for each in (logs._run(logs._line()), logs.wait())]
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    log.write("late")
    for task in waiting:
        task.get_coro().close()
        task._log_destroy_pending = False  # type: ignore[attr-defined]

    async def end() -> bytes:
        async with client:
            return await anext(logs)

    assert asyncio.run(end()) == b"late\n"


def child(body: str, cluster: Cluster, **options: object) -> subprocess.Popen[bytes]:
    """Starts a program that has a client and a process that sleeps."""
    begin = (
        "import asyncio, os, signal, sys, threading, time\n"
        "from kubectl_wsx import *\n"
        "client = Client.connect(sys.argv[1])\n"
        'process = client.exec("web-0", ["sleep", "60"])\n'
        'logs = client.logs("web-0", container="app", tail_lines=0, follow=True)\n'
    )
    command = [sys.executable, "-W", "ignore", "-c", begin + body, cluster.kubeconfig]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)  # type: ignore[call-overload, no-any-return]


WAITS = ["process.stdout.read()", "process.wait()", 'client.run("web-0", ["sleep", "60"])']
WAITS += ["next(logs)", "next(logs.events())", "logs.wait()"]


@pytest.mark.parametrize("wait", WAITS)
def test_sigint_ends_a_blocking_call(cluster: Cluster, wait: str) -> None:
    running = child(f"print('ready', flush=True)\n{wait}", cluster)
    assert running.stdout and running.stdout.readline() == b"ready\n"
    time.sleep(0.1)  # whether it waits by now cannot be asked; before it does, the answer is the same
    begin = time.monotonic()
    running.send_signal(signal.SIGINT)
    _, stderr = running.communicate(timeout=10)
    assert stderr.endswith(b"KeyboardInterrupt\n") and running.returncode == -signal.SIGINT
    # The interpreter's own end takes its part.
    assert time.monotonic() - begin < 0.5


@pytest.mark.parametrize(
    "body",
    [
        "pass",
        "sys.exit()",
        "threading.Thread(target=process.stdout.read, daemon=True).start(); time.sleep(0.1)",
        "threading.Thread(target=list, args=(logs,), daemon=True).start(); time.sleep(0.1)",
        "asyncio.run(asyncio.wait_for(AsyncClient.connect(sys.argv[1]), 5))",
        "asyncio.get_event_loop_policy().new_event_loop().run_until_complete(AsyncClient.connect(sys.argv[1]))",
        "import atexit; atexit.register(lambda: client.run('web-0', ['true']))",
    ],
)
def test_the_interpreter_ends_whatever_is_open(cluster: Cluster, body: str) -> None:
    ended = child(body, cluster)
    _, stderr = ended.communicate(timeout=10)
    assert (ended.returncode, stderr) == (0, b"")


def test_async_waits_at_the_very_end_are_refused(cluster: Cluster) -> None:
    """What was registered before the import is called after there is nobody left to wake a loop."""
    late = (
        "import asyncio, atexit, sys\n"
        "@atexit.register\n"
        "def late():\n"
        "    try: asyncio.run(AsyncClient.connect(sys.argv[1]))\n"
        "    except ClosedError as error: print(error)\n"
        "from kubectl_wsx import *\n"
        "Client.connect(sys.argv[1]).close()\n"
    )
    ended = subprocess.run([sys.executable, "-c", late, cluster.kubeconfig], capture_output=True, timeout=10)
    assert (ended.stdout, ended.stderr) == (b"the interpreter is shutting down\n", b"")


def test_a_fork_starts_anew_and_leaves_the_parent_alone(cluster: Cluster, client: Client) -> None:
    logs = client.logs("web-0", container="app", follow=True)
    with logs, client.exec("web-0", ["cat"], stdin=PIPE) as process:
        assert process.stdin and process.stdout
        stdin = process.stdin
        assert next(logs) == b"app line 1\n"
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                uses: list[Callable[[], object]] = [
                    lambda: client.run("web-0", ["true"]),
                    process.stdout.read,
                    lambda: stdin.write(b"x"),
                    process.wait,
                    lambda: next(logs.chunks()),
                    lambda: next(logs.events()),
                    logs.wait,
                    logs.report,
                    client.close,
                ]
                for use in uses:
                    with pytest.raises(ClosedError, match="forked"):
                        use()
                with Client.connect(cluster.kubeconfig) as own:
                    code = own.run("web-0", ["sh", "-c", "exit 7"]).returncode
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        process.stdin.write(b"still here\n")
        process.stdin.close()
        assert process.stdout.read() == b"still here\n"
        assert next(logs) == b"app line 2\n"


def test_a_fork_amid_a_loop_wakes_its_own(cluster: Cluster) -> None:
    async def echo(client: AsyncClient) -> bytes:
        async with await client.exec("web-0", ["cat"], stdin=PIPE) as process:
            assert process.stdin and process.stdout
            process.stdin.write(b"x\n")
            return await asyncio.wait_for(process.stdout.readline(), 10)

    async def connect_and_echo() -> bytes:
        async with await AsyncClient.connect(cluster.kubeconfig) as client:
            return await echo(client)

    async def main() -> int:
        async with await AsyncClient.connect(cluster.kubeconfig) as client:
            assert await echo(client) == b"x\n"
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    code = 7 if asyncio.new_event_loop().run_until_complete(connect_and_echo()) == b"x\n" else 2
                finally:
                    os._exit(code)
            for _ in range(20):
                assert await echo(client) == b"x\n"
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert asyncio.run(main()) == 7


def in_child(kubeconfig: str) -> int:
    with Client.connect(kubeconfig) as client:
        return client.run("web-0", ["sh", "-c", "exit 9"]).returncode


def test_multiprocessing_by_fork(cluster: Cluster, client: Client) -> None:
    assert client.run("web-0", ["true"]).returncode == 0
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(in_child, [cluster.kubeconfig] * 4) == [9] * 4


def test_asyncio_is_not_imported_before_it_is_needed() -> None:
    check = "import sys, kubectl_wsx; sys.exit('asyncio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0
