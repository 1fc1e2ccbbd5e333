"""Reading, writing, cancelling: nothing is lost, nothing is kept without bound, nothing hangs."""

from __future__ import annotations

import asyncio
import random
import resource
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

import pytest
from conftest import Cluster
from kubectl_wsx import PIPE, AsyncClient, AsyncProcess, AsyncReader, Client, ClosedError, ConnectionLostError

MEBI = 1024 * 1024


def with_process(
    cluster: Cluster, command: list[str], body: Callable[[AsyncProcess], Awaitable[None]], stdin: int | None = None
) -> None:
    """Runs `body` with a process on an event loop that checks everything."""

    async def main() -> None:
        async with await AsyncClient.connect(cluster.kubeconfig, context="plain") as client:
            async with await client.exec("web-0", command, stdin=stdin, container="app") as process:
                await body(process)

    asyncio.run(main(), debug=True)


def lines(count: int) -> list[bytes]:
    return [b"%99d\n" % number for number in range(count)]


def test_every_kind_of_read_goes_on_where_the_last_one_stopped(cluster: Cluster) -> None:
    async def body(process: AsyncProcess) -> None:
        stdout = process.stdout
        assert stdout
        whole, got = b"".join(lines(2000)), bytearray()
        got += await anext(stdout)
        got += await stdout.read(7)
        got += await stdout.readline()
        got += await stdout.readexactly(1234)
        buffer = bytearray(50)
        got += buffer[: await stdout.readinto(buffer)]
        async for chunk in stdout.chunks():
            got += chunk
            break
        async for text in stdout.lines():
            got += text.encode()
            if len(got) > 150_000:
                break
        assert await stdout.read(0) == b""
        got += await stdout.read()
        assert got == whole
        assert (await stdout.read(), await stdout.readline(), stdout.at_eof()) == (b"", b"", True)
        with pytest.raises(asyncio.IncompleteReadError) as error:
            await stdout.readexactly(1)
        assert error.value.partial == b""

    with_process(cluster, ["lines", "200000"], body)


def test_cancelled_reads_lose_nothing(cluster: Cluster) -> None:
    """5,000 lines; 3,000 reads of every kind are cancelled while they wait."""
    script = "i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done; cat; exit 5"

    async def body(process: AsyncProcess) -> None:
        stdout = process.stdout
        assert stdout and process.stdin
        chance, got = random.Random(5), bytearray()
        for number in range(3000):
            while got.count(b"\n") < 5000 + number:
                got += await stdout.readline()
            kinds = [lambda: stdout.readline(), lambda: stdout.read(), lambda: stdout.readexactly(16 * MEBI)]
            reading = asyncio.ensure_future(chance.choice(kinds)())
            await asyncio.sleep(0)
            process.stdin.write(b"more %d\n" % number)
            if chance.random() < 0.5:
                await asyncio.sleep(0)
            assert reading.cancel() or reading.done()
            try:
                got += await reading
            except asyncio.CancelledError:
                pass
        process.stdin.close()
        got += await stdout.read()
        expected = [b"line %d" % number for number in range(5000)] + [b"more %d" % number for number in range(3000)]
        assert got.splitlines() == expected
        assert await process.wait() == 5

    with_process(cluster, ["sh", "-c", script], body, stdin=PIPE)


def test_wait_for_may_time_out_and_be_tried_again(cluster: Cluster) -> None:
    async def body(process: AsyncProcess) -> None:
        assert process.stdout and process.stdin
        lines = aiter(process.stdout)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(lines), 0.01)
        process.stdin.write(b"one\n")
        assert await anext(lines) == b"one\n"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(process.communicate(b"two\n"), 0.2)
        assert await process.stdout.readexactly(4) == b"two\n"

    with_process(cluster, ["sh", "-c", "cat; sleep 60"], body, stdin=PIPE)


def test_a_second_reader_is_refused(cluster: Cluster) -> None:
    async def body(process: AsyncProcess) -> None:
        assert process.stdout
        first = asyncio.ensure_future(process.stdout.readline())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError):
            await process.stdout.read()
        with pytest.raises(RuntimeError):
            await process.communicate()
        first.cancel()

    with_process(cluster, ["sleep", "60"], body)


async def read_all(stdout: AsyncReader) -> int:
    return len(await stdout.read())


async def read_chunks_slowly(stdout: AsyncReader) -> int:
    """There is always another one."""
    size = 0
    async for chunk in stdout.chunks():
        time.sleep(0.001)
        size += len(chunk)
    return size


@pytest.mark.parametrize("read", [read_all, read_chunks_slowly])
def test_a_fast_stream_leaves_turns_to_others(cluster: Cluster, read: Callable[[AsyncReader], Awaitable[int]]) -> None:
    async def body(process: AsyncProcess) -> None:
        assert process.stdout
        longest, last = 0.0, time.monotonic()

        async def watch() -> None:
            nonlocal longest, last
            while True:
                await asyncio.sleep(0)
                longest, last = max(longest, time.monotonic() - last), time.monotonic()

        watching = asyncio.ensure_future(watch())
        assert await read(process.stdout) == 64 * MEBI
        watching.cancel()
        assert longest < 0.5

    with_process(cluster, ["gen", "64M"], body)


def test_what_run_captures_is_in_memory_once(cluster: Cluster) -> None:
    code = (
        "import sys\n"
        "from kubectl_wsx import Client\n"
        "def highest():\n"
        "    with open('/proc/self/status') as status:\n"
        "        return next(int(line.split()[1]) // 1024 for line in status if line.startswith('VmHWM'))\n"
        "with Client.connect(sys.argv[1], context='plain') as client:\n"
        "    client.run('web-0', ['true'], container='app')\n"
        "    before = highest()\n"
        "    size = len(client.run('web-0', ['gen', '128M'], container='app').stdout)\n"
        "    print(size // 2**20, highest() - before)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, cluster.kubeconfig], capture_output=True, check=True, timeout=60)
    size, growth = map(int, ended.stdout.split())
    assert size == 128 and growth < 192
    with Client.connect(cluster.kubeconfig, context="plain") as client:
        assert client.run("web-0", ["lines", "5000000"], container="app").stdout == b"".join(lines(50_000))


def test_a_slow_consumer_holds_the_sender_back(cluster: Cluster) -> None:
    async def body(process: AsyncProcess) -> None:
        assert process.stdout
        await process.stdout.read(1)
        before, total = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 1
        async for chunk in process.stdout.chunks():
            total += len(chunk)
            if total < 32 * MEBI:
                await asyncio.sleep(0.001)
        assert total == 256 * MEBI
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024

    with_process(cluster, ["gen", "256M"], body)


def test_both_outputs_are_read_at_once(client: Client) -> None:
    script = "i=0; while [ $i -lt 40000 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done"
    with client.exec("web-0", ["sh", "-c", script]) as process:
        stdout, stderr = process.communicate()
    assert stdout.splitlines() == [b"out %d" % number for number in range(40000)]
    assert stderr.splitlines() == [b"err %d" % number for number in range(40000)]


def test_writing_without_draining_has_a_limit(cluster: Cluster) -> None:
    async def body(process: AsyncProcess) -> None:
        assert process.stdin
        block = bytes(MEBI)
        with pytest.raises(BufferError):
            for _ in range(64):  # the kernels on the way hold some
                process.stdin.write(block)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(process.stdin.drain(), 0.05)

    with_process(cluster, ["sleep", "60"], body, stdin=PIPE)


def test_an_upload_waits_for_the_remote_side(cluster: Cluster) -> None:
    async def body(process: AsyncProcess) -> None:
        assert process.stdin and process.stdout
        for _ in range(64):
            process.stdin.write(memoryview(bytearray(MEBI)))
            await process.stdin.drain()
        assert not process.stdin.is_closing()
        process.stdin.close()
        await process.stdin.wait_closed()
        assert process.stdin.is_closing()
        assert await process.stdout.read() == b"67108864\n"

    with_process(cluster, ["sink"], body, stdin=PIPE)


def test_writes_after_the_exit_are_refused(client: Client) -> None:
    with client.exec("web-0", ["true"], stdin=PIPE) as process:
        assert process.wait() == 0 and process.stdin
        with pytest.raises(ClosedError):
            process.stdin.write(b"x")
        with pytest.raises(ClosedError):
            process.stdin.drain()
        process.stdin.close()
        with pytest.raises(ClosedError):
            process.stdin.write(b"x")


@pytest.mark.parametrize("how", ["break", "throw", "cancel", "aclose"])
def test_leaving_closes_the_socket_within_a_second(cluster: Cluster, how: str) -> None:
    async def leave(client: AsyncClient) -> None:
        async with await client.exec("web-0", ["lines", "1G"], container="app", preflight=False) as process:
            assert process.stdout
            async for _ in process.stdout:
                if how == "break":
                    break
                if how == "throw":
                    raise LookupError
                if how == "aclose":
                    await process.aclose()
                    break

    async def main() -> None:
        async with await AsyncClient.connect(cluster.kubeconfig, context="plain") as client:
            before = cluster.sockets()
            leaving = asyncio.ensure_future(leave(client))
            if how == "cancel":
                while cluster.sockets() == before:
                    await asyncio.sleep(0.001)
                leaving.cancel()
            begin = time.monotonic()
            await asyncio.gather(leaving, return_exceptions=True)
            while cluster.sockets() > before:
                assert time.monotonic() - begin < 1
                await asyncio.sleep(0.01)

    asyncio.run(main())


@pytest.mark.parametrize("fault", ['{"status":"missing"}', '{"after_bytes":10,"then":"fin"}', '{"after_bytes":10,"then":"rst"}'])
def test_a_missing_status_settles_everything_within_five_seconds(cluster: Cluster, fault: str) -> None:
    async def body(process: AsyncProcess) -> None:
        assert process.stdout
        begin = time.monotonic()
        with pytest.raises(ConnectionLostError):
            await process.stdout.read()
        with pytest.raises(ConnectionLostError) as error:
            await process.wait()
        assert time.monotonic() - begin < 5
        partial = await process.stdout.read()
        assert (process.returncode, process.status, error.value.stdout_bytes) == (None, None, len(partial))

    with_process(cluster, ["@fault", fault, "gen", "4k"], body)


def test_many_runs_at_once(cluster: Cluster) -> None:
    async def main() -> None:
        async with await AsyncClient.connect(cluster.kubeconfig, context="plain") as client:
            done = await asyncio.gather(*[client.run("web-0", ["gen", str(n)], container="app") for n in range(200)])
            assert [(each.returncode, len(each.stdout)) for each in done] == [(0, number) for number in range(200)]

    asyncio.run(main())
