"""Connections of a port-forward for asyncio: real streams, on a transport of ours."""

from __future__ import annotations

import asyncio
import gc
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from conftest import Arranged, Cluster
from kubectl_wsx import (
    AsyncClient,
    AsyncPortForward,
    ClosedError,
    ConnectionLostError,
    NotStartedError,
    WsxTimeoutError,
)
from kubectl_wsx._transport import HIGH_WATER, ForwardTransport

#: What `generate` and friends send.
WORDS = b"".join(word.to_bytes(8, "little") for word in range(32 * 1024))
Forward = Callable[..., Any]


@asynccontextmanager
async def forwarded(cluster: Cluster, pod: str, *ports: int, **options: Any) -> AsyncIterator[AsyncPortForward]:
    async with await AsyncClient.connect(cluster.kubeconfig) as client:
        async with await client.port_forward(pod, *ports, address=[], **options) as forward:
            yield forward


@pytest.fixture
def run(cluster: Cluster, ports: Arranged, pod: str) -> Callable[..., None]:
    """Runs something with a port-forward to the test's pod."""

    def run(use: Callable[[AsyncPortForward], Awaitable[None]], *to: int, **options: Any) -> None:
        async def inside() -> None:
            async with forwarded(cluster, pod, *to, **options) as forward:
                await asyncio.wait_for(use(forward), 20)

        asyncio.run(inside())

    return run


async def everything(reader: StreamReader) -> bytes:
    """Reads in pieces, to the end or up to an error, which the pieces are given to."""
    data = bytearray()
    try:
        while piece := await reader.read(50_000):
            data += piece
    except Exception as error:
        error.add_note(str(len(data)))
        raise
    return bytes(data)


@pytest.mark.parametrize("protocol", ["tunnel", "v4"])
def test_an_echo_of_a_megabyte(run: Forward, protocol: str) -> None:
    async def use(forward: AsyncPortForward) -> None:
        reader, writer = await forward.open()
        assert isinstance(reader, StreamReader) and isinstance(writer, StreamWriter)
        assert writer.can_write_eof() and writer.get_extra_info("peername") is None

        async def write() -> None:
            for begin in range(0, len(WORDS), 10_000):
                writer.write(WORDS[begin : begin + 10_000])
                await writer.drain()

        writing = asyncio.create_task(write())
        for _ in range(2):
            assert await reader.readexactly(len(WORDS)) == WORDS
            await writing
            writing = asyncio.create_task(write())
        writing.cancel()
        writer.transport.abort()

    run(use, 7, protocol=protocol)


def test_lines_and_the_end(run: Forward) -> None:
    async def use(forward: AsyncPortForward) -> None:
        reader, writer = await forward.open()
        writer.writelines([b"one\n", bytearray(b"two\n"), memoryview(b"three")])
        writer.write(b"")
        writer.write_eof()
        writer.write_eof()  # which does nothing
        with pytest.raises(RuntimeError):
            writer.write(b"more")
        assert await reader.readline() == b"one\n"
        assert [line async for line in reader] == [b"two\n", b"three"]
        assert reader.at_eof() and await reader.read() == b""
        await writer.drain()  # nothing was lost
        with pytest.raises(ClosedError):
            writer.write(b"more")
        writer.close()
        await writer.wait_closed()

    run(use, 7)


def test_a_cut_is_an_error_behind_the_last_byte(run: Forward) -> None:
    async def use(forward: AsyncPortForward) -> None:
        reader, writer = await forward.open(3000)
        writer.write(b"x")
        with pytest.raises(ConnectionLostError) as error:
            await everything(reader)
        assert error.value.__notes__ == ["65536"]
        assert isinstance(error.value, ConnectionError) and isinstance(reader.exception(), ConnectionLostError)
        for again in (reader.read(), reader.read(1), reader.readline(), reader.readexactly(1), writer.drain()):
            with pytest.raises(ConnectionLostError):
                await again
        with pytest.raises(ConnectionLostError):
            writer.write(b"more")
        writer.close()
        with pytest.raises(ConnectionLostError):
            await writer.wait_closed()

    run(use, 3000)


@pytest.mark.parametrize("call", ["read", "readexactly", "readuntil", "readline"])
def test_no_call_takes_a_cut_for_an_end(run: Forward, call: str) -> None:
    async def use(forward: AsyncPortForward) -> None:
        reader, writer = await forward.open()
        waiting = asyncio.create_task(getattr(reader, call)(*([100_000] if call == "readexactly" else [])))
        await asyncio.sleep(0)
        writer.write(b"x")
        with pytest.raises(ConnectionLostError if call.startswith("read") else ValueError):
            while True:
                await waiting
                waiting = asyncio.create_task(getattr(reader, call)(*([100_000] if call == "readexactly" else [])))
        writer.transport.abort()

    run(use, 3000)


def test_a_refused_port_is_told_by_the_reader(run: Forward) -> None:
    async def use(forward: AsyncPortForward) -> None:
        reader, writer = await forward.open()
        with pytest.raises(NotStartedError, match="port 81"):
            await reader.read()
        with pytest.raises(NotStartedError):
            writer.write(b"x")
        assert writer.is_closing()

    run(use, 81)


def test_a_session_that_is_lost(run: Forward, ports: Arranged) -> None:
    async def use(forward: AsyncPortForward) -> None:
        reader, writer = await forward.open()
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        waiting = asyncio.create_task(reader.read())
        await asyncio.to_thread(ports.run, cut="rst")
        with pytest.raises(ConnectionLostError):
            await waiting
        reader, writer = await forward.open()  # on another session
        writer.write(b"again")
        assert await reader.readexactly(5) == b"again"
        writer.close()

    run(use, 7)


@pytest.mark.parametrize("size", [-1, 7, 1000])
def test_a_cancelled_read_has_taken_nothing(run: Forward, size: int) -> None:
    async def use(forward: AsyncPortForward) -> None:
        reader, writer = await forward.open()
        writer.write(b"x")
        data, cancelled = b"", 0
        while not reader.at_eof():
            try:
                data += await asyncio.wait_for(reader.read(size), 0.05)
            except TimeoutError:
                cancelled += 1
        assert data == b"".join(bytes([digit]) * 10 for digit in b"0123456789") and cancelled > 5
        writer.close()

    run(use, 2001)


def test_a_slow_reader_holds_up_the_pod(run: Forward, ports: Arranged) -> None:
    async def use(forward: AsyncPortForward) -> None:
        reader, writer = await forward.open(19)
        await reader.readexactly(8)
        transport = writer.transport
        assert isinstance(transport, ForwardTransport)
        while transport.is_reading():
            await asyncio.sleep(0)
        assert len(reader._buffer) < 512 * 1024  # type: ignore[attr-defined]
        _, other = await forward.open(7)  # which is served all the same
        other.close()
        assert forward.report().received < 8 * 1024 * 1024
        assert await reader.readexactly(len(WORDS) - 8) == WORDS[8:]  # and it goes on
        writer.transport.abort()

    run(use, 19, 7)


def test_a_pod_that_does_not_read_holds_up_the_writer(run: Forward) -> None:
    async def use(forward: AsyncPortForward) -> None:
        _, writer = await forward.open()
        transport = writer.transport
        writer.write(bytes(64 * 1024 * 1024))
        size = transport.get_write_buffer_size()
        assert size > 32 * 1024 * 1024 and transport.get_write_buffer_limits() == (HIGH_WATER // 4, HIGH_WATER)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(writer.drain(), 0.2)
        transport.set_write_buffer_limits(high=2 * size)
        assert transport.get_write_buffer_limits() == (size // 2, 2 * size)
        with pytest.raises(ValueError):
            transport.set_write_buffer_limits(high=1, low=2)
        draining = asyncio.create_task(writer.drain())
        await asyncio.sleep(0)
        transport.abort()
        with pytest.raises(ClosedError):
            await draining
        await writer.wait_closed()

    run(use, 3001)


def test_an_end_of_input_that_the_pod_is_told(run: Forward, ports: Arranged) -> None:
    async def use(forward: AsyncPortForward) -> None:
        reader, writer = await forward.open()
        writer.write(bytes(200_000))
        writer.write_eof()
        assert len(await reader.read()) == 200_000 + 1024 * 1024
        writer.close()

    ports.run(runtime="half-close")
    run(use, 2000, half_close="pass")


@pytest.mark.parametrize("options", [{"protocol": "tunnel"}, {"protocol": "v4"}, {"half_close": "hold"}], ids=str)
@pytest.mark.parametrize("waits", [True, False])
def test_close_still_brings_across_what_was_written(run: Forward, ports: Arranged, options: Any, waits: bool) -> None:
    async def use(forward: AsyncPortForward) -> None:
        reader, writer = await forward.open()
        writer.write(bytes(3_000_000))
        writer.close()
        writer.close()
        with pytest.raises(ClosedError):
            writer.write(b"more")
        with pytest.raises(ClosedError):
            await reader.read()
        if waits:
            await writer.wait_closed()

    run(use, 9, **options)
    ports.run(await_open=0)
    assert ports.run()["counts"]["ports"]["9"]["to_pod"] == 3_000_000


def test_wait_closed_tells_what_may_not_have_arrived(run: Forward, ports: Arranged) -> None:
    async def use(forward: AsyncPortForward) -> None:
        _, writer = await forward.open()
        writer.write(bytes(3_000_000))
        writer.close()
        await asyncio.sleep(0)
        await asyncio.to_thread(ports.run, cut="rst")
        with pytest.raises(ConnectionLostError):
            await writer.wait_closed()

    run(use, 3001)


def test_close_does_not_wait_for_ever(run: Forward, ports: Arranged) -> None:
    async def use(forward: AsyncPortForward) -> None:
        _, writer = await forward.open()
        writer.write(b"x")
        begin = time.monotonic()
        writer.close()
        with pytest.raises(WsxTimeoutError, match="may not have arrived"):
            await writer.wait_closed()
        assert 4.9 < time.monotonic() - begin < 7

    ports.run(runtime="half-close")
    run(use, 3001)


def test_what_comes_after_close_is_dropped(run: Forward) -> None:
    async def use(forward: AsyncPortForward) -> None:
        reader, writer = await forward.open()
        await reader.readexactly(8)
        writer.close()  # of a pod that would talk for ever
        await writer.wait_closed()
        assert forward.report().received < 16 * 1024 * 1024

    run(use, 19)


def test_abort_is_at_once(run: Forward, ports: Arranged) -> None:
    async def use(forward: AsyncPortForward) -> None:
        reader, writer = await forward.open()
        waiting = asyncio.create_task(reader.read())
        await asyncio.sleep(0)
        writer.transport.abort()
        writer.transport.abort()
        with pytest.raises(ClosedError):
            await waiting
        await writer.wait_closed()
        await asyncio.to_thread(ports.run, await_open=0)

    run(use, 7)


def test_abort_overtakes_close(run: Forward, ports: Arranged) -> None:
    async def use(forward: AsyncPortForward) -> None:
        _, writer = await forward.open()
        begin = time.monotonic()
        writer.close()
        writer.transport.abort()
        await writer.wait_closed()
        await asyncio.to_thread(ports.run, await_resets=2)
        assert time.monotonic() - begin < 0.9

    run(use, 7, half_close="hold")  # where a second passes without it


def test_text_where_bytes_are_due(run: Forward) -> None:
    async def use(forward: AsyncPortForward) -> None:
        _, writer = await forward.open()
        for wrong in ("text", 5, None):
            with pytest.raises(TypeError):
                writer.write(wrong)  # type: ignore[arg-type]
        writer.transport.abort()

    run(use, 7)


@pytest.mark.filterwarnings("default::ResourceWarning")
def test_what_is_dropped_ends(run: Forward, ports: Arranged) -> None:
    async def use(forward: AsyncPortForward) -> None:
        streams = [await forward.open()]
        with pytest.warns(ResourceWarning, match="unclosed"):
            del streams
            gc.collect()
        await asyncio.to_thread(ports.run, await_open=0)

    run(use, 7)


def test_a_connection_keeps_its_port_forward(cluster: Cluster, ports: Arranged, pod: str) -> None:
    async def use() -> None:
        async with await AsyncClient.connect(cluster.kubeconfig) as client:
            reader, writer = await (await client.port_forward(pod, 7, address=[])).open()
            gc.collect()
            writer.write(b"still here")
            assert await reader.readexactly(10) == b"still here"
            writer.transport.abort()
            await writer.wait_closed()

    asyncio.run(use())


def test_many_connections_at_once(run: Forward, ports: Arranged) -> None:
    async def echo(forward: AsyncPortForward, number: int) -> None:
        reader, writer = await forward.open()
        for _ in range(10):
            data = f"{number}\n".encode() * 1000
            writer.write(data)
            assert await reader.readexactly(len(data)) == data
        writer.transport.abort()

    async def use(forward: AsyncPortForward) -> None:
        await asyncio.gather(*(echo(forward, number) for number in range(200)))
        assert forward.report().connections == 200

    run(use, 7)
