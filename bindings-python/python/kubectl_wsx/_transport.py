"""A connection of a port-forward for asyncio: a transport, and the streams on it.

What has come is taken on the event loop's own thread; only readiness is awaited.
"""

from __future__ import annotations

import asyncio
import warnings
import weakref
from asyncio import StreamReader, StreamReaderProtocol, StreamWriter
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from . import _native
from ._options import Buffer, buffer
from ._steps import Arm, door
from .errors import ClosedError, WsxError

#: What is taken, and handed over, at once.
PIECE = 64 * 1024
#: How much is taken before others have their turn.
TURN = 4 * PIECE
#: How much may wait to be handed over before the protocol is asked to pause.
HIGH_WATER = 64 * 1024


def connect(native: _native.Connection, owner: object) -> tuple[StreamReader, StreamWriter]:
    """Returns streams of a connection, on the running event loop."""
    loop = asyncio.get_running_loop()
    reader = ForwardReader(loop=loop)
    protocol = StreamReaderProtocol(reader, loop=loop)
    transport = ForwardTransport(loop, native, protocol, reader, owner)
    protocol.connection_made(transport)
    transport.resume_reading()
    return reader, ForwardWriter(transport, protocol, reader, loop)


class ForwardReader(StreamReader):
    """A `StreamReader` that raises behind the last byte, not before what has come, and whose cancelled `read()` has
    taken nothing."""

    _failure: BaseException | None = None

    def exception(self) -> BaseException | None:  # type: ignore[override]
        return self._failure

    def set_exception(self, exc: BaseException) -> None:
        if self._eof:  # type: ignore[attr-defined]
            return  # all has come; it is the input that failed
        self._failure = self._failure or exc
        self._wakeup_waiter()  # type: ignore[attr-defined]

    def feed_eof(self) -> None:
        if self._failure is None:
            super().feed_eof()

    async def _wait_for_data(self, func_name: str) -> None:
        if self._failure is not None:
            raise self._failure
        await super()._wait_for_data(func_name)  # type: ignore[misc]
        if self._failure is not None and not self._buffer:
            raise self._failure

    async def read(self, n: int = -1) -> bytes:
        if n >= 0:
            return await super().read(n)
        while not self._eof:  # type: ignore[attr-defined]
            await self._wait_for_data("read")
        return await super().read(len(self._buffer))  # type: ignore[attr-defined]


class ForwardWriter(StreamWriter):
    """A `StreamWriter` whose `drain()` raises what became of the input."""

    async def drain(self) -> None:
        transport = self.transport
        assert isinstance(transport, ForwardTransport)
        transport.check()
        if not transport.is_over():
            await super().drain()
            transport.check()


class ForwardTransport(asyncio.Transport):
    """A connection as a transport. Dropping it resets the connection."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        native: _native.Connection,
        protocol: asyncio.Protocol,
        reader: StreamReader,
        owner: object,
    ) -> None:
        super().__init__()
        self._loop = loop
        self._native = native
        self._protocol = protocol
        self._reader = reader
        #: For as long as there is a connection, there is its port-forward.
        self._owner = owner
        #: What was written and not handed over, and how many bytes that is.
        self._waiting: deque[memoryview] = deque()
        self._size = 0
        self._low, self._high = HIGH_WATER // 4, HIGH_WATER
        self._held_up = False  # whether the protocol was asked to pause
        self._reading = False
        self._input_over = False
        self._failure: WsxError | None = None  # why nothing can be written
        self._closing = False
        self._departing: _native.Operation | None = None  # bringing across what was written, once closed
        self._over = False  # whether the protocol was told, or will be in a moment
        #: Who waits for what: they wait as long as they are here.
        self._waiters: dict[str, _native.Waiter] = {}

    def is_closing(self) -> bool:
        return self._closing or self._over

    def is_over(self) -> bool:
        """Tells whether nothing more will happen."""
        return self._over

    def check(self) -> None:
        """Raises what became of the input, if it failed."""
        if self._failure is not None:
            raise self._failure

    # Reading.

    def is_reading(self) -> bool:
        return self._reading and not self.is_closing()

    def pause_reading(self) -> None:
        self._reading = False
        self._waiters.pop("read", None)

    def resume_reading(self) -> None:
        if not self._reading and not self.is_closing():
            self._reading = True
            self._soon(ForwardTransport._take)

    def _take(self) -> None:
        """Gives the protocol what there is, and waits for more."""
        left = TURN
        while self.is_reading():
            try:
                data = self._native.try_read(PIECE)
            except WsxError as error:
                return self._lose(error)
            if data is None:
                return self._when("read", self._native.arm, ForwardTransport._take)
            if not data:
                return self._ended()
            self._protocol.data_received(data)
            left -= len(data)
            if left <= 0:
                return self._soon(ForwardTransport._take)

    def _ended(self) -> None:
        """The pod has ended the connection, for both directions."""
        self._protocol.eof_received()
        if self._size:
            self._failure = ClosedError(f"the pod has ended the connection, {self._size} bytes were not sent")
        self._lose(self._failure)

    # Writing.

    def write(self, data: Buffer) -> None:
        view = memoryview(buffer("data", data))
        self.check()
        if self.is_closing():
            raise ClosedError("the connection is closed")
        if self._input_over:
            raise RuntimeError("write() after write_eof()")
        if not view.nbytes:
            return
        self._waiting.append(memoryview(data if isinstance(data, bytes) else bytes(view)))
        self._size += view.nbytes
        self._flush()
        if self._size > self._high and not self._held_up:
            self._held_up = True
            self._protocol.pause_writing()

    def _flush(self) -> None:
        """Hands over what there is room for, and waits for more room."""
        try:
            while self._waiting:
                first = self._waiting[0]
                if not self._native.write(first[:PIECE]):
                    return self._when("write", self._native.arm_room, ForwardTransport._flush)
                self._size -= min(len(first), PIECE)
                self._waiting[0] = first[PIECE:]
                if not self._waiting[0]:
                    self._waiting.popleft()
            if self._input_over:
                self._native.end()
        except WsxError as error:  # what came before it is still to be read
            self._failure = error
            self._waiting.clear()
            self._size = 0
        finally:
            if self._held_up and self._size <= self._low:
                self._held_up = False
                self._protocol.resume_writing()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if not self._input_over and not self.is_closing():
            self._input_over = True
            self._flush()

    def get_write_buffer_size(self) -> int:
        return self._size

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if high is None:
            high = HIGH_WATER if low is None else 4 * low
        low = high // 4 if low is None else low
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self._low, self._high = low, high

    # Ending.

    def close(self) -> None:
        """Reads no more, brings across what was written, and ends the connection."""
        if self.is_closing():
            return
        self._closing = True
        self._waiters.clear()
        self._departing = operation = self._native.close(b"".join(self._waiting))
        if self._loop.is_closed():  # nobody is left to be told
            return
        self._reader.set_exception(ClosedError("the connection was closed from this side"))

        def arrived(transport: ForwardTransport) -> None:
            try:
                operation.result()
            except WsxError as error:
                transport._failure = transport._failure or error
            transport._lose(transport._failure)

        self._when("close", operation.arm, arrived)

    def abort(self) -> None:
        """Resets the connection at once."""
        self._native.abort()
        if self._departing is not None:
            self._departing.cancel()
        error = ClosedError("the connection was aborted from this side")
        self._reader.set_exception(error)
        self._failure = self._failure or error
        self._lose(None)

    def _lose(self, error: WsxError | None) -> None:
        if not self._over:
            self._over = True
            self._failure = self._failure or error
            self._waiting.clear()
            self._waiters.clear()
            self._native.abort()
            self._loop.call_soon(self._protocol.connection_lost, error)

    # Waiting.

    def _soon(self, go_on: Step) -> None:
        self._loop.call_soon(_step, weakref.ref(self), go_on)

    def _when(self, what: str, arm: Arm, go_on: Step) -> None:
        """Goes on once something is ready. Who waits holds nobody, so that what is dropped can go."""
        if what in self._waiters:
            return
        future = self._loop.create_future()
        waiter = self._waiters[what] = _native.Waiter(self._loop, future, door(self._loop))
        known = weakref.ref(self)

        def ready(_: object) -> None:
            transport = known()
            if transport is not None and transport._waiters.get(what) is waiter:
                del transport._waiters[what]
                go_on(transport)

        future.add_done_callback(ready)
        try:
            if arm(waiter) and not future.done():
                future.set_result(None)
        except WsxError as error:  # the interpreter is about to end
            self._lose(error)

    def __del__(self) -> None:
        if not getattr(self, "_over", True) and not self._closing:
            with suppress(WsxError):  # a forked child owns nothing of its parent
                self._native.abort()
                warnings.warn(f"unclosed transport {self!r}", ResourceWarning, source=self)


Step = Callable[[ForwardTransport], None]


def _step(known: weakref.ref[ForwardTransport], go_on: Step) -> None:
    if (transport := known()) is not None:
        go_on(transport)
